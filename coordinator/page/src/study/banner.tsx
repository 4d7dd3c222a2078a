/** What the report is, said all the time: a draft never looks signed. The words are the report's own. */

import type { Report } from '../api/types.ts';
import { rejection } from './rejected.tsx';
import { moment, personName } from '../words.ts';

interface Props {
  report: Report;
  version: number;
  newest: number;
  /** What is shown below has the reader's edits of a signed report, which nobody has signed. */
  isAmending: boolean;
  /** What says that the draft was rejected, where it is reviewed after all. */
  rejected: Report | null;
}

export function Banner({ report, version, newest, isAmending, rejected }: Props) {
  const { status, statement, review } = report;
  const names = { unsigned_draft: 'UNSIGNED DRAFT', signed: 'SIGNED', amended: 'AMENDED', rejected: 'REJECTED DRAFT' } as const;
  const who = review && `${personName(review.reviewer)}, ${review.organization}, ${moment(review.at_ms)}`;
  if (isAmending) {
    return (
      <div class="banner b-unsigned_draft" role="note" aria-label="Standing of the report">
        <p><strong>AMENDMENT, NOT SIGNED</strong> <span class="version">of version {version}</span></p>
        <p>What is shown below has your edits, which nobody has signed. The signed report stands as it was: undo, or look at version {version}.</p>
        {report.demonstration && <p class="demonstration">Drafted with demonstration weights: it says nothing about patients.</p>}
      </div>
    );
  }
  return (
    <div class={`banner b-${status}`} role="note" aria-label="Standing of the report">
      <p><strong>{names[status]}</strong> {who && status !== 'unsigned_draft' && <span>{who}</span>} <span class="version">version {version}{newest > version ? ` of ${newest}: not the newest` : ''}</span></p>
      {rejected !== null && <p>{rejection(rejected).join(' ')} You review it after all; until you sign, it stays rejected.</p>}
      <p class="statement">{statement}</p>
      {review && review.reason !== '' && !statement.includes(review.reason) && <p>Reason: {review.reason}</p>}
      {report.demonstration && <p class="demonstration">Made with demonstration weights: it says nothing about patients.</p>}
    </div>
  );
}
