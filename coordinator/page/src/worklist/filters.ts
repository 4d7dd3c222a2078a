/** Filters of the worklist, as its address has them. Pure, but for the clock. */

import { serverNow } from '../api/client.ts';
import type { Row } from '../api/types.ts';
import { pressing, urgencyRank, yearsAt } from '../words.ts';

export interface Filters {
  state: string;
  modality: string;
  urgency: string;
  site: string;
  /** Received within so many hours. */
  age: string;
  /** The patient's age in whole years at the study, from-to. */
  years: string;
  /** Lowest confidence at most this, in percent. */
  confidence: string;
  text: string;
  order: string;
}

const NAMES = ['state', 'modality', 'urgency', 'site', 'years', 'age', 'confidence', 'text', 'order'] as const;

/** The states that wait for a radiologist are shown where none is chosen. */
export const STATES: readonly { value: string; words: string }[] = [
  { value: '', words: 'All' },
  { value: 'drafted', words: 'To read' },
  { value: 'receiving,complete,queued,reading', words: 'In work' },
  { value: 'signed,amended', words: 'Signed' },
  { value: 'rejected', words: 'Rejected' },
  { value: 'failed,cancelled,skipped', words: 'Problems' },
];

/** What can be chosen from a list; the others are free. */
export const CHOICES = {
  urgency: [['', 'any'], ['critical', 'critical, STAT'], ['urgent', 'urgent'], ['routine', 'routine']],
  years: [['', 'any'], ['0-17', 'under 18'], ['18-64', '18 to 64'], ['65-150', '65 and over']],
  age: [['', 'any time'], ['1', 'last hour'], ['8', 'last 8 h'], ['24', 'last 24 h'], ['168', 'last week']],
  confidence: [['', 'any'], ['90', 'below 90 %'], ['70', 'below 70 %'], ['50', 'below 50 %']],
  order: [['', 'most urgent'], ['newest', 'newest'], ['oldest', 'longest waiting'], ['confidence', 'least confident']],
} as const satisfies Partial<Record<keyof Filters, readonly (readonly [string, string])[]>>;

/** Ages that are chosen by address alone. */
const YEARS = /^(\d{1,3})-(\d{1,3})$/;

/** Whether the patient was of that age when the study was made; who has no date of birth is of none. */
function isOfAge(filters: Filters, { patient, study_date }: Row): boolean {
  const [, from = '', to = ''] = YEARS.exec(filters.years) ?? [];
  const years = yearsAt(patient.birth_date, study_date);
  return years !== null && years >= Number(from) && years <= Number(to);
}

/** The filters of an address. What nobody can choose is no filter: an address may be typed, or be of another version. */
export function fromQuery(query: URLSearchParams): Filters {
  const filters = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ''])) as unknown as Filters;
  for (const [name, choices] of Object.entries(CHOICES) as [keyof typeof CHOICES, readonly (readonly [string, string])[]][]) {
    if (!choices.some(([value]) => value === filters[name]) && !(name === 'years' && YEARS.test(filters.years))) filters[name] = '';
  }
  const known = STATES.flatMap(({ value }) => value.split(','));
  if (!filters.state.split(',').every((state) => known.includes(state))) filters.state = '';
  return filters;
}

/** Whether anything may be left out. */
export function isFiltered(filters: Filters): boolean {
  return NAMES.some((name) => name !== 'order' && filters[name] !== '');
}

export function toPath(filters: Filters): string {
  const query = new URLSearchParams();
  for (const name of NAMES) if (filters[name] !== '') query.set(name, filters[name]);
  const text = query.toString();
  return text === '' ? '/worklist' : `/worklist?${text}`;
}

/** What the server is asked for; the rest is done here. */
export function asked(filters: Filters, after: string | null): string {
  const query = new URLSearchParams({ limit: '500' });
  for (const name of ['modality', 'urgency', 'site', 'text'] as const) if (filters[name] !== '') query.set(name, filters[name]);
  if (filters.confidence !== '') query.set('confidence_below', String(Number(filters.confidence) / 100));
  if (filters.age !== '') query.set('received_after_ms', String(serverNow() - Number(filters.age) * 3_600_000));
  if (filters.order === '') query.set('order', 'urgency');
  if (after !== null) query.set('after', after);
  return query.toString();
}

/** Letters that are more than a plain one with an accent, as they are typed where the keyboard has none of them. */
const PLAIN: Record<string, string> = { ß: 'ss', æ: 'ae', œ: 'oe', þ: 'th', ø: 'o', đ: 'd', ð: 'd', ł: 'l', ı: 'i', ς: 'σ' };

/** Words as they are looked for, without capitals and accents: as the server has them (`naming/spelling.rs`), which looks at the same. */
function folded(text: string): string {
  return text.toLowerCase().normalize('NFKD').replaceAll(/\p{M}/gu, '').replaceAll(/[ßæœþøđðłıς]/g, (letter) => PLAIN[letter] ?? letter);
}

/** Whether a row is shown. Also what the server filters is looked at: rows change while they are shown. */
export function passes(filters: Filters, row: Row, now: number): boolean {
  if (filters.state !== '' && !filters.state.split(',').includes(row.state)) return false;
  if (filters.modality !== '' && !row.modalities.includes(filters.modality.toUpperCase())) return false;
  if (filters.urgency !== '' && pressing(row) !== filters.urgency) return false;
  if (filters.site !== '' && folded(row.institution) !== folded(filters.site)) return false;
  if (filters.years !== '' && !isOfAge(filters, row)) return false;
  if (filters.age !== '' && now - row.received_at_ms > Number(filters.age) * 3_600_000) return false;
  if (filters.confidence !== '' && !(row.confidence !== null && row.confidence * 100 < Number(filters.confidence))) return false;
  if (filters.text === '') return true;
  const { patient, accession, description, institution } = row;
  const words = folded([patient.name, patient.id, accession, description, institution, row.uid].join('\n'));
  // Names are shown with a comma that they are not kept with.
  return filters.text.split(/[\s,]+/).every((word) => words.includes(folded(word)));
}

/** How many rows there are by state. */
export function tally(rows: Row[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

/** Most urgent first, newest first, or least confident first. */
export function compare(filters: Filters): (a: Row, b: Row) => number {
  const newest = (a: Row, b: Row) => b.changed_at_ms - a.changed_at_ms || a.uid.localeCompare(b.uid);
  if (filters.order === 'newest') return newest;
  if (filters.order === 'oldest') return (a, b) => a.received_at_ms - b.received_at_ms || a.uid.localeCompare(b.uid);
  if (filters.order === 'confidence') return (a, b) => (a.confidence ?? 2) - (b.confidence ?? 2) || newest(a, b);
  // What a radiologist has answered for, and what goes, waits for nobody.
  const done = ({ state }: Row) => Number(['signed', 'amended', 'rejected', 'removing'].includes(state));
  return (a, b) => done(a) - done(b) || urgencyRank(pressing(a)) - urgencyRank(pressing(b)) || newest(a, b);
}
