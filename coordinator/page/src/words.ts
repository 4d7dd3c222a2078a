/** How things are said: names, dates, ages, confidence. Pure. */

import type { ChangeKind, Changed, Decided, Finding, Inserted, Priority, Standing, Urgency, WordsFrom, Written } from './api/types.ts';

/** A person's name (PN) as people write it, in each form that it has, as reports on paper do: "Doe, Dr. Jane", "Yamada, Tarou / 山田, 太郎". */
export function personName(name: string): string {
  const form = (text: string) => {
    const [family = '', given = '', middle = '', prefix = '', suffix = ''] = text.split('^').map((part) => part.trim());
    const rest = [prefix, given, middle, suffix].filter((part) => part !== '').join(' ');
    return [family, rest].filter((part) => part !== '').join(', ');
  };
  return name.split('=').map(form).filter((each) => each !== '').join(' / ') || 'no name';
}

/** Whether two names (PN) are written alike, but for small and capital letters. */
export function isSameName(one: string, other: string): boolean {
  return personName(one).toLowerCase() === personName(other).toLowerCase();
}

/** A date (DA) as YYYY-MM-DD; what is no date stays as it is. */
export function date(text: string): string {
  return /^\d{8}$/.test(text) ? `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6)}` : text;
}

/** The day at which an age is told: that of the study, or today. */
function ageDay(at: string): string {
  return /^\d{8}$/.test(at) ? at : new Date().toISOString().slice(0, 10).replaceAll('-', '');
}

/** Age in whole years at a date; nothing where it is not known, or no age. */
export function yearsAt(birth: string, at: string): number | null {
  if (!/^\d{8}$/.test(birth)) return null;
  const years = Math.floor((Number(ageDay(at)) - Number(birth)) / 10000);
  return years < 0 || years > 150 ? null : years;
}

/** Age at a date, in years or, of the smallest, months; nothing where it is not known. */
export function ageAt(birth: string, at: string): string {
  const years = yearsAt(birth, at);
  if (years === null) return '';
  if (years >= 2) return `${years} y`;
  const end = ageDay(at);
  const months = (Number(end.slice(0, 4)) - Number(birth.slice(0, 4))) * 12 + Number(end.slice(4, 6)) - Number(birth.slice(4, 6));
  return `${Math.max(0, months - (Number(end.slice(6)) < Number(birth.slice(6)) ? 1 : 0))} mo`;
}

/** How long ago: "4 min", "3 h", "2 d". */
export function since(ms: number, now: number): string {
  const minutes = Math.max(0, Math.floor((now - ms) / 60_000));
  if (minutes < 1) return 'now';
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h`;
  return `${Math.floor(minutes / 1440)} d`;
}

const two = (value: number) => String(value).padStart(2, '0');

/** A moment in the reader's own time, which it names: "2026-11-29 14:02 UTC+1". Reports on paper tell times in UTC. */
export function moment(ms: number): string {
  const at = new Date(ms);
  const east = -at.getTimezoneOffset();
  const zone = `${east < 0 ? '-' : '+'}${Math.floor(Math.abs(east) / 60)}${east % 60 === 0 ? '' : `:${two(Math.abs(east) % 60)}`}`;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)} UTC${east === 0 ? '' : zone}`;
}

/** The time of a day by the reader's own clock: "14:02". */
export function clock(ms: number): string {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The word for how sure the model is. It is the model's own estimate, not a probability of disease. */
export function confidenceWord(confidence: number): 'high' | 'moderate' | 'low' | 'very low' {
  if (confidence >= 0.9) return 'high';
  if (confidence >= 0.7) return 'moderate';
  return confidence >= 0.5 ? 'low' : 'very low';
}

/** Whole percent. No model is certain: what would be 0 or 100 is said as less or more. */
export function percent(confidence: number): string {
  const whole = Math.round(confidence * 100);
  return whole >= 100 ? '> 99 %' : whole < 1 ? '< 1 %' : `${whole} %`;
}

const STANDINGS: Record<Standing, string> = { unsigned_draft: 'unsigned draft', signed: 'signed', amended: 'amended', rejected: 'rejected' };

export function standingWord(standing: Standing | null): string {
  return standing === null ? '' : STANDINGS[standing];
}

const RANK: Record<Urgency, number> = { critical: 0, urgent: 1, routine: 2 };

export function urgencyRank(urgency: Urgency | null): number {
  return urgency === null ? 3 : RANK[urgency];
}

/** How urgent a study is as it was asked for; nothing where it was asked for in its turn. */
export function requested(priority: Priority): Urgency | null {
  return priority === 'stat' ? 'critical' : priority === 'urgent' ? 'urgent' : null;
}

/** The more urgent of what was asked for and what the draft says. */
export function pressing({ priority, urgency }: { priority: Priority; urgency: Urgency | null }): Urgency | null {
  const asked = requested(priority);
  return urgencyRank(asked) < urgencyRank(urgency) ? asked : urgency;
}

/** What a finding is called, and what qualifies it. */
export function title(finding: Omit<Written, 'evidence'>, name: string): string {
  const called = name.charAt(0).toUpperCase() + name.slice(1);
  const where = [finding.severity, finding.laterality, finding.zone].filter((word) => word !== undefined);
  const size = finding.size_mm === undefined ? [] : [`${Math.round(finding.size_mm * 10) / 10}\u00a0mm`];
  const qualified = [...where, ...size].join(', ');
  return qualified === '' ? called : `${called} · ${qualified}`;
}

/** A finding as codes have it, with whether it is there. */
export function coded(finding: Omit<Finding, 'evidence' | 'confidence'>): string {
  return `${title(finding, finding.name)} (${finding.presence})`;
}

const DECISIONS = { accept: 'accepted', change: 'changed', reject: 'rejected' } as const;

/** What was decided of a finding, with the words that were written of it; `names` are those of the vocabulary. */
export function decision({ decision: made, finding, words, reason }: Decided, names?: Map<string, string>): string {
  const to = made === 'change' && finding !== undefined ? [`to ${coded({ ...finding, name: names?.get(finding.key) ?? finding.key.replaceAll('_', ' ') })}`] : [];
  const said = [made === null ? 'not decided' : DECISIONS[made], ...to].join(' ');
  return [said, ...[words, reason].filter((text) => text !== '').map((text) => `"${text}"`)].join(', ');
}

const CHANGES: Record<ChangeKind, string> = { new: 'New', larger: 'Larger', smaller: 'Smaller', no_longer_seen: 'No longer seen', seen_only_now: 'Seen only now', seen_only_then: 'Seen only then', unchanged: 'Unchanged' };

/** What became of a finding, in words; `now` are the report's findings, `names` those of the vocabulary. */
export function changed({ change, finding, earlier }: Changed, now: Finding[], names: Map<string, string>): string {
  const seen = finding === undefined ? undefined : now[finding];
  const then = earlier === undefined ? '' : title(earlier, names.get(earlier.key) ?? earlier.key);
  if (seen === undefined) return `${CHANGES[change]}: ${then}`;
  const said = title(seen, seen.name);
  return `${CHANGES[change]}: ${said}${then === '' || then === said ? '' : `, then ${then.charAt(0).toLowerCase()}${then.slice(1)}`}`;
}

/** Whose words a sentence has. */
export function inserted({ passage, sentence, model, adapter, demonstration, by, at_ms, changed: isChanged, by_hand: isByHand }: Inserted): string {
  const who = `${model}${adapter === undefined ? '' : `, adapter ${adapter}`}${demonstration ? ' (demonstration weights)' : ''}`;
  return `Sentence ${sentence + 1} of the ${passage ?? 'impression'} has words of an answer by ${who}, ${isByHand === true ? 'typed or pasted' : 'inserted'}${isChanged ? ' and changed' : ''} by ${personName(by)}, ${moment(at_ms)}.`;
}

const ORIGINS: Record<WordsFrom['origin'], (by: string) => string> = {
  draft: () => 'As drafted',
  decisions: () => 'Made by software of the findings as decided',
  answer: (by) => `With words of a model's answer, taken by ${by}`,
  person: (by) => `Typed or pasted by ${by}`,
};

/** Where the words of a reviewed report are from, a line for each origin and person. */
export function origins(words: WordsFrom[]): string[] {
  const found = new Map<string, WordsFrom[]>();
  for (const each of words) {
    const heading = ORIGINS[each.origin](personName(each.by ?? ''));
    found.set(heading, [...(found.get(heading) ?? []), each]);
  }
  return [...found].map(([heading, all]) => {
    const places = (['findings', 'impression'] as const).flatMap((passage) => {
      const here = all.filter((each) => each.passage === passage).map((each) => each.sentence + 1);
      return here.length === 0 ? [] : [`${passage} ${here.join(', ')}`];
    });
    return `${heading}: ${places.join('; ')}`;
  });
}
