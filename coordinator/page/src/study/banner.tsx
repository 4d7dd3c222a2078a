/** What the report is, said all the time: a draft never looks signed. The words are the report's own. */

import type { Report, Version } from '../api/types.ts';
import { rejection } from './rejected.tsx';
import { moment, personName } from '../words.ts';

/** What the shown report is called. */
export const NAMES = { unsigned_draft: 'UNSIGNED DRAFT', signed: 'SIGNED', amended: 'AMENDED', rejected: 'REJECTED DRAFT' } as const;

interface Props {
  report: Report;
  version: number;
  newest: number;
  /** The version that stands in the place of this signed one; nothing where this one stands. */
  superseding: number | null;
  /** The version that somebody signed before this draft, and that stands until the draft is signed; nothing where there is none. */
  standing: Version | null;
  /** What is shown below has the reader's edits of a signed report, which nobody has signed. */
  isAmending: boolean;
  /** This draft was rejected since, and is only looked at. */
  isRejected: boolean;
  /** What says that the draft was rejected, where it is reviewed after all. */
  rejected: Report | null;
  /** Shows a version. */
  show: (version: number) => void;
}

/** Which signed version stands beside a draft that came after it, by whom and since when. */
export function stillStands({ version, standing, by, at_ms }: Version): string {
  return `Version ${version} was ${standing}${by === null ? '' : ` by ${personName(by)}`}, ${moment(at_ms)}, and stands until this draft is signed.`;
}

export function Banner({ report, version, newest, superseding, standing, isAmending, isRejected, rejected, show }: Props) {
  const { status, statement, review } = report;
  // When, the statement below says.
  const who = review && `${personName(review.reviewer)}, ${review.organization}`;
  if (isAmending) {
    return (
      <div class="banner b-unsigned_draft" role="note" aria-label="Standing of the report">
        <p><strong>AMENDMENT, NOT SIGNED</strong> <span class="version">of version {version}</span></p>
        <p>What is shown below has your edits, which nobody has signed. The signed report stands as it was: discard the amendment to see it.</p>
        {report.demonstration && <p class="demonstration">Drafted with demonstration weights: it says nothing about patients.</p>}
      </div>
    );
  }
  const stands = superseding ?? newest;
  return (
    <div class={`banner b-${status} ${superseding === null ? '' : 'is-superseded'}`} role="note" aria-label="Standing of the report">
      <p><strong>{superseding === null ? '' : 'SUPERSEDED, '}{isRejected ? NAMES.rejected : NAMES[status]}</strong> {who && status !== 'unsigned_draft' && <span dir="auto">{who}</span>} <span class="version">version {version}{newest > version ? ` of ${newest}: not the newest` : ''}</span></p>
      {newest > version && rejected === null && (
        <p class="stands">
          {isRejected ? `Version ${version + 1} says that this draft was rejected.` : superseding === null ? `There is a newer version, ${stands}.` : `Version ${stands} is newer and stands in the place of this one.`}{' '}
          <a href="#report" onClick={(event) => { event.preventDefault(); show(stands); }}>Show version {stands}</a>
        </p>
      )}
      {standing !== null && (
        <p class="stands">
          {stillStands(standing)}{' '}
          <a href="#report" onClick={(event) => { event.preventDefault(); show(standing.version); }}>Show version {standing.version}</a>
        </p>
      )}
      {rejected !== null && (
        <>
          {rejection(rejected).map((line) => <p key={line} dir="auto">{line}</p>)}
          <p>You review it after all; until you sign, it stays rejected.</p>
        </>
      )}
      <p class="statement" dir="auto">{statement}</p>
      {review && review.reason !== '' && !statement.includes(review.reason) && <p>Reason: <bdi>{review.reason}</bdi></p>}
      {report.demonstration && <p class="demonstration">Made with demonstration weights: it says nothing about patients.</p>}
    </div>
  );
}
