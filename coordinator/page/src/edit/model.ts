/** What a reader makes of a draft: decisions, additions, words, with undo. Pure. */

import type { Added, Decided, Finding, Study, WorkingCopy, Written } from '../api/types.ts';
import { coded, decision } from '../words.ts';

/** A text that is kept letter by letter. */
export type Field = 'impression';

/** A state that was, and the text that was typed in from there to the next one; nothing where something else was done. */
interface Past {
  copy: WorkingCopy;
  field: Field | null;
}

/** The states that were, the one that is, and those that were undone. */
export interface History {
  past: Past[];
  now: WorkingCopy;
  future: Past[];
  /** Where the last letter was typed and when, while typing goes on. */
  typed: { field: Field; at_ms: number; isTaken: boolean } | null;
}

/** Steps that can be undone. */
const MAX_STEPS = 500;
/** A pause after which what is typed is another step. */
const PAUSE_MS = 1_500;

/** Nothing decided yet of a version with so many findings. */
export function undecided(version: number, findings: number): WorkingCopy {
  const decisions = Array.from({ length: findings }, (): Decided => ({ decision: null, words: '', reason: '' }));
  return { version, decisions, added: [], impression: [], reason: '' };
}

export function begin(now: WorkingCopy): History {
  return { past: [], now, future: [], typed: null };
}

/** One more step; a step that changes nothing is none. */
export function step(history: History, now: WorkingCopy, field: Field | null = null): History {
  if (isEqual(now, history.now)) return history;
  return { past: within([...history.past, { copy: history.now, field }]), now, future: [], typed: null };
}

/** A text as it is after another letter: a step is a word, what is taken away at a stretch, or what comes after a pause. */
export function type(history: History, now: WorkingCopy, field: Field, at_ms: number): History {
  if (isEqual(now, history.now)) return history;
  const [before, after] = [history.now[field].join('\n'), now[field].join('\n')];
  const typed = { field, at_ms, isTaken: after.length < before.length };
  const last = history.typed;
  const goesOn = last?.field === field && at_ms - last.at_ms < PAUSE_MS && last.isTaken === typed.isTaken && !beginsWord(before, after);
  return goesOn ? { ...history, now, future: [], typed } : { ...step(history, now, field), typed };
}

function isEqual(one: WorkingCopy, other: WorkingCopy): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Whether what was put into a text is a letter behind a blank. */
function beginsWord(before: string, after: string): boolean {
  if (after.length <= before.length) return false;
  let same = 0;
  while (same < before.length && before[same] === after[same]) same += 1;
  return /\s$/.test(before.slice(0, same)) && /^\S/.test(after.slice(same));
}

/** The steps that are kept: of too many, two of one text become one, so that decisions can be undone however much was typed. */
function within(past: Past[]): Past[] {
  if (past.length <= MAX_STEPS) return past;
  const joined = past.findIndex(({ field }, at) => field !== null && past[at - 1]?.field === field);
  return past.filter((_, at) => at !== Math.max(0, joined));
}

export function undo({ past, now, future }: History): History {
  const last = past.at(-1);
  if (last === undefined) return { past, now, future, typed: null };
  return { past: past.slice(0, -1), now: last.copy, future: [{ copy: now, field: last.field }, ...future], typed: null };
}

export function redo({ past, now, future }: History): History {
  const [next, ...rest] = future;
  if (next === undefined) return { past, now, future, typed: null };
  return { past: [...past, { copy: now, field: next.field }], now: next.copy, future: rest, typed: null };
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

type Asked = Pick<WorkingCopy, 'version' | 'added' | 'impression'> & { decisions: Decided[] };

/** What is sent for a preview: what is not decided counts as accepted there. */
export function toPreview(copy: WorkingCopy): Asked {
  return asked(copy);
}

/** What is sent for a signature; nothing where anything is not decided. */
export function toSign(copy: WorkingCopy): Asked | null {
  return left(copy) > 0 ? null : asked(copy);
}

function asked(copy: WorkingCopy): Asked {
  const decisions = copy.decisions.map(({ decision, finding, words, reason }): Decided => {
    if (decision === 'change' && finding !== undefined) return { decision, finding: coherent(finding), words, reason };
    return { decision: decision ?? 'accept', words, reason };
  });
  const added = copy.added.map((each): Added => ({ ...each, finding: coherent(each.finding) }));
  return { version: copy.version, decisions, added, impression: hasImpression(copy) ? copy.impression : [] };
}

/** A reader's work carried to another version, and in words what of it was not: what found no finding there, and what found one that
 * is not what was decided on. */
export interface Carried {
  copy: WorkingCopy;
  lost: string[];
  differs: string[];
}

/** Carries decisions over to the same findings, by tracking identifier, else by what they are and their side. Only where all that was
 * decided on is the same there: anything else is to be decided anew. */
export function carry(mine: WorkingCopy, before: Finding[], newest: Study): Carried {
  const after = newest.report?.report.findings ?? [];
  const copy = { ...undecided(newest.report?.report.version ?? newest.row.version, after.length), added: mine.added, impression: mine.impression, reason: mine.reason };
  const carried: Carried = { copy, lost: [], differs: [] };
  const places = placesOf(before, after);
  mine.decisions.forEach((decided, index) => {
    const was = before[index];
    if (was === undefined || (decided.decision === null && decided.words === '')) return;
    const place = places.get(index);
    const is = place === undefined ? undefined : after[place];
    if (place === undefined || is === undefined) carried.lost.push(`${coded(was)}: ${decision(decided)}`);
    else if (difference(was, is) !== '') carried.differs.push(`${coded(was)}: ${decision(decided)}; ${difference(was, is)}`);
    else copy.decisions[place] = decided;
  });
  return carried;
}

/** Which finding of another version each one is, by their places. */
function placesOf(before: Finding[], after: Finding[]): Map<number, number> {
  const places = new Map<number, number>();
  const pair = (isSame: (was: Finding, is: Finding) => boolean) => before.forEach((was, index) => {
    if (places.has(index)) return;
    const taken = [...places.values()];
    const place = after.findIndex((is, at) => !taken.includes(at) && isSame(was, is));
    if (place >= 0) places.set(index, place);
  });
  pair((was, is) => was.tracking !== undefined && was.tracking === is.tracking);
  pair((was, is) => was.key === is.key && was.laterality === is.laterality);
  return places;
}

/** What a reader who decides on a finding decides on, part by part. */
const PARTS: ((finding: Finding) => string)[] = [
  ({ name }) => name,
  ({ presence }) => presence,
  ({ laterality }) => laterality ?? 'side not stated',
  ({ zone }) => zone ?? 'part not stated',
  ({ severity }) => severity ?? 'severity not stated',
  // To the tenth, as it is shown.
  ({ size_mm }) => (size_mm === undefined ? 'size not stated' : `${Math.round(size_mm * 10) / 10} mm`),
];

/** In what a finding is another than the one that was decided on, in words; empty where it is not. */
function difference(was: Finding, is: Finding): string {
  const parts = PARTS.filter((part) => part(was) !== part(is));
  const said = (finding: Finding) => parts.map((part) => part(finding)).join(', ');
  const words = (finding: Finding) => (finding.sentence ? `"${finding.sentence}"` : 'no sentence');
  if (was.key === is.key && parts.length > 0) return `was: ${said(was)}; is: ${said(is)}`;
  if (was.key !== is.key) return `was: ${coded(was)}; is: ${coded(is)}`;
  return (was.sentence ?? '') === (is.sentence ?? '') ? '' : `was: ${words(was)}; is: ${words(is)}`;
}
