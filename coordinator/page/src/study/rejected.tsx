/** What stands in the place of a rejected draft: that it was rejected, by whom, and why. */

import type { Report } from '../api/types.ts';
import { moment, personName } from '../words.ts';

export function Rejected({ report }: { report: Report }) {
  return (
    <section class="rejected" aria-label="Report">
      <h2>Report</h2>
      {rejection(report).map((line) => <p key={line} dir="auto">{line}</p>)}
      <p class="muted">A rejected draft says nothing of the patient: not that something was found, and not that nothing was.</p>
    </section>
  );
}

/** By whom a draft was rejected, and why, in lines. */
export function rejection({ review }: Report): string[] {
  if (review === undefined) return ['This draft was rejected.'];
  const by = [personName(review.reviewer), review.organization].filter((part) => part !== '').join(', ');
  return [`This draft was rejected by ${by}, ${moment(review.at_ms)}.`, ...(review.reason === '' ? [] : [`Why: ${review.reason}`])];
}
