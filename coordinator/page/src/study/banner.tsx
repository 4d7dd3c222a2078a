/** What the report is, said all the time: a draft never looks signed. The words are the report's own. */

import type { Report } from '../api/types.ts';
import { moment, personName } from '../words.ts';

export function Banner({ report, version, newest }: { report: Report; version: number; newest: number }) {
  const { status, statement, review } = report;
  const names = { unsigned_draft: 'UNSIGNED DRAFT', signed: 'SIGNED', amended: 'AMENDED', rejected: 'REJECTED DRAFT' } as const;
  const who = review && `${personName(review.reviewer)}, ${review.organization}, ${moment(review.at_ms)}`;
  return (
    <div class={`banner b-${status}`} role="note" aria-label="Standing of the report">
      <p><strong>{names[status]}</strong> {who && status !== 'unsigned_draft' && <span>{who}</span>} <span class="version">version {version}{newest > version ? ` of ${newest}: not the newest` : ''}</span></p>
      <p class="statement">{statement}</p>
      {review && review.reason !== '' && <p>Reason: {review.reason}</p>}
      {report.demonstration && <p class="demonstration">Made with demonstration weights: it says nothing about patients.</p>}
    </div>
  );
}
