/** What a reader makes of a draft: decisions, additions, words, with undo. Pure. */

import type { Added, Decided, Finding, Study, WorkingCopy, Written } from '../api/types.ts';

/** The states that were, the one that is, and those that were undone. */
export interface History {
  past: WorkingCopy[];
  now: WorkingCopy;
  future: WorkingCopy[];
}

/** Steps that can be undone. */
const MAX_STEPS = 200;

/** Nothing decided yet of a version with so many findings. */
export function undecided(version: number, findings: number): WorkingCopy {
  const decisions = Array.from({ length: findings }, (): Decided => ({ decision: null, words: '', reason: '' }));
  return { version, decisions, added: [], impression: [], reason: '' };
}

export function begin(now: WorkingCopy): History {
  return { past: [], now, future: [] };
}

/** One more step; a step that changes nothing is none. */
export function step(history: History, now: WorkingCopy): History {
  if (JSON.stringify(now) === JSON.stringify(history.now)) return history;
  return { past: [...history.past, history.now].slice(-MAX_STEPS), now, future: [] };
}

export function undo(history: History): History {
  const last = history.past.at(-1);
  return last === undefined ? history : { past: history.past.slice(0, -1), now: last, future: [history.now, ...history.future] };
}

export function redo(history: History): History {
  const [next, ...future] = history.future;
  return next === undefined ? history : { past: [...history.past, history.now], now: next, future };
}

export function decide(copy: WorkingCopy, index: number, change: Partial<Decided>): WorkingCopy {
  return { ...copy, decisions: copy.decisions.map((each, at) => (at === index ? { ...each, ...change } : each)) };
}

/** Whether two findings say the same. */
export function isSame(one: Written, other: Written): boolean {
  const said = (finding: Written) => {
    const { key, presence, laterality, zone, severity, size_mm, evidence } = coherent(finding);
    return JSON.stringify([key, presence, laterality, zone, severity, size_mm, evidence.map(({ instance, frame, box }) => [instance, frame, box])]);
  };
  return said(one) === said(other);
}

/** Puts a finding of the draft, and its sentence, as a reader wants them. What leaves both as they were decides nothing, and takes
 * a change back. */
export function change(copy: WorkingCopy, index: number, draft: { finding: Written; sentence: string }, finding: Written, words: string): WorkingCopy {
  const said = words.trim();
  if (!isSame(draft.finding, finding) || (said !== '' && said !== draft.sentence)) return decide(copy, index, { decision: 'change', finding, words: said });
  const decisions = copy.decisions.map((each, at): Decided => (at === index ? { decision: each.decision === 'change' ? null : each.decision, words: '', reason: each.reason } : each));
  return { ...copy, decisions };
}

/** Accepts what is not decided. */
export function acceptRest(copy: WorkingCopy): WorkingCopy {
  return { ...copy, decisions: copy.decisions.map((each) => (each.decision === null ? { ...each, decision: 'accept' } : each)) };
}

export function left(copy: WorkingCopy): number {
  return copy.decisions.filter((each) => each.decision === null).length;
}

/** Whether there is an impression in the reader's own words. Where there is none it is made from the findings. */
export function hasImpression(copy: Pick<WorkingCopy, 'impression'>): boolean {
  return copy.impression.some((line) => line.trim() !== '');
}

/** With an impression of these lines; an empty one is none. */
export function withImpression(copy: WorkingCopy, impression: string[]): WorkingCopy {
  return { ...copy, impression: hasImpression({ impression }) ? impression : [] };
}

/** Whether anything was decided or written. */
export function isBegun(copy: WorkingCopy): boolean {
  return copy.added.length > 0 || hasImpression(copy) || copy.reason !== '' || copy.decisions.some((each) => each.decision !== null || each.words !== '');
}

/** What is not there has no place, size or severity. */
export function coherent(finding: Written): Written {
  if (finding.presence !== 'absent') return finding;
  const { key, presence, laterality, zone } = finding;
  return { key, presence, ...(laterality === undefined ? {} : { laterality }), ...(zone === undefined ? {} : { zone }), evidence: [] };
}

/** What is sent for a preview or a signature; what is not decided counts as accepted in a preview. */
export function request(copy: WorkingCopy): Pick<WorkingCopy, 'version' | 'added' | 'impression'> & { decisions: Decided[] } {
  const decisions = copy.decisions.map(({ decision, finding, words, reason }): Decided => {
    if (decision === 'change' && finding !== undefined) return { decision, finding: coherent(finding), words, reason };
    return { decision: decision ?? 'accept', words, reason };
  });
  const added = copy.added.map((each): Added => ({ ...each, finding: coherent(each.finding) }));
  return { version: copy.version, decisions, added, impression: hasImpression(copy) ? copy.impression : [] };
}

/** A reader's work carried to a newer version, and what of it found no place there, in words. */
export interface Carried {
  copy: WorkingCopy;
  lost: string[];
}

/** Carries decisions over by tracking identifier, else by what the finding is and its side. */
export function carry(mine: WorkingCopy, before: Finding[], newest: Study): Carried {
  const after = newest.report?.report.findings ?? [];
  const copy = { ...undecided(newest.report?.report.version ?? newest.row.version, after.length), added: mine.added, impression: mine.impression, reason: mine.reason };
  const lost: string[] = [];
  const taken = new Set<number>();
  mine.decisions.forEach((decided, index) => {
    const was = before[index];
    if (was === undefined || (decided.decision === null && decided.words === '')) return;
    const tracked = was.tracking === undefined ? -1 : after.findIndex((each) => each.tracking === was.tracking);
    const alike = after.findIndex((each, at) => !taken.has(at) && each.key === was.key && each.laterality === was.laterality);
    const place = tracked >= 0 ? tracked : alike;
    if (place < 0) {
      const said = [decided.decision ?? 'undecided', was.name, was.laterality, decided.words, decided.reason];
      lost.push(said.filter((word) => word !== undefined && word !== '').join(', '));
      return;
    }
    taken.add(place);
    copy.decisions[place] = decided;
  });
  return { copy, lost };
}
