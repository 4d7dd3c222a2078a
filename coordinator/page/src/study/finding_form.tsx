/** The structured part of a finding: what, side, part, size, presence. */

import { useState } from 'preact/hooks';
import type { Presence, Vocabulary, Word, Written } from '../api/types.ts';
import { coherent } from '../edit/model.ts';
import type { Item } from './items.ts';

interface Props {
  vocabulary: Vocabulary;
  item: Item;
  done: (item: Item) => void;
  cancel: () => void;
  /** What was measured on an image last, in mm. */
  measured: number | null;
}

type Part = 'laterality' | 'zone' | 'severity';

/** The longest extent that a report takes, in mm. */
const MOST_MM = 500;
const SIZE = `A length in mm, such as 12 or 1.5 cm, of at most ${MOST_MM} mm.`;

/** A size as people write it; nothing where none is written, null where it is no size. */
function millimetres(text: string): number | undefined | null {
  if (text.trim() === '') return undefined;
  const [, number, unit] = /^(\d+(?:[.,]\d+)?)\s*(mm|cm)?$/i.exec(text.trim()) ?? [];
  const mm = Math.round(Number(number?.replace(',', '.')) * (unit?.toLowerCase() === 'cm' ? 10 : 1) * 100) / 100;
  return mm > 0 && mm <= MOST_MM ? mm : null;
}

export function FindingForm({ vocabulary, item, done, cancel, measured }: Props) {
  const [finding, setFinding] = useState<Written>({ ...item.finding, evidence: item.finding.evidence.map(({ instance, series, frame, box }) => ({ instance, series, frame, ...(box === undefined ? {} : { box }) })) });
  const [words, setWords] = useState(item.words);
  const [sizeProblem, setSizeProblem] = useState('');
  const set = (name: Part, value: string) => setFinding((was) => {
    const next = { ...was };
    if (value === '') delete next[name];
    else next[name] = value;
    return next;
  });
  const size = (input: HTMLInputElement) => {
    const mm = millimetres(input.value);
    // What cannot be a size is not kept as none.
    input.setCustomValidity(mm === null ? SIZE : '');
    setSizeProblem(mm === null ? SIZE : '');
    setFinding((was) => {
      const next = { ...was };
      delete next.size_mm;
      return mm === undefined || mm === null ? next : { ...next, size_mm: mm };
    });
  };
  const pick = (label: string, value: string, options: [string, string][], change: (value: string) => void, first = false) => (
    <label>
      {label}
      <select value={value} onChange={(event) => change(event.currentTarget.value)} ref={first ? (element) => { if (element && !element.dataset['met']) { element.dataset['met'] = 'yes'; element.focus(); } } : null}>
        {options.map(([key, name]) => <option key={key} value={key}>{name}</option>)}
      </select>
    </label>
  );
  const optional = (list: Word[]): [string, string][] => [['', 'not stated'], ...list.map(({ key, name }): [string, string] => [key, name])];
  const absent = finding.presence === 'absent';
  return (
    <form class="finding-form" aria-label="Change finding" onSubmit={(event) => { event.preventDefault(); done({ ...item, finding: coherent({ key: finding.key, presence: finding.presence, ...rest(finding) }), words }); }}
      onKeyDown={(event) => { if (event.key === 'Enter' && event.target instanceof HTMLSelectElement) { event.preventDefault(); event.currentTarget.requestSubmit(); } else if (event.key === 'Escape') { event.preventDefault(); event.stopPropagation(); cancel(); } }}>
      {pick('Finding', finding.key, vocabulary.findings.map(({ key, name }) => [key, name]), (key) => setFinding({ ...finding, key }), true)}
      {pick('Presence', finding.presence, vocabulary.presences.map((word) => [word, word]), (presence) => setFinding({ ...finding, presence: presence as Presence }))}
      {pick('Side', finding.laterality ?? '', optional(vocabulary.sides), (value) => set('laterality', value))}
      {pick('Part', finding.zone ?? '', optional(vocabulary.sites), (value) => set('zone', value))}
      {!absent && pick('Severity', finding.severity ?? '', optional(vocabulary.severities), (value) => set('severity', value))}
      {!absent && (
        <label>
          Size, mm
          <input inputMode="decimal" name="size" defaultValue={finding.size_mm ?? ''} key={finding.size_mm === measured ? 'measured' : 'typed'} onInput={(event) => size(event.currentTarget)} aria-invalid={sizeProblem !== ''} autocomplete="off" />
          {sizeProblem !== '' && <span class="problem" role="alert">{sizeProblem}</span>}
          {measured !== null && finding.size_mm !== measured && <button type="button" class="plain" onClick={() => { setSizeProblem(''); setFinding({ ...finding, size_mm: measured }); }}>take the {measured} mm measured</button>}
        </label>
      )}
      <label class="wide">
        Words (made from the above where empty)
        <input name="words" dir="auto" value={words} maxLength={2000} data-own={words === item.words ? undefined : 'yes'} onInput={(event) => setWords(event.currentTarget.value)} autocomplete="off" />
      </label>
      <div class="acts wide">
        <button type="submit" class="primary">Keep <kbd>Enter</kbd></button>
        <button type="button" class="plain" onClick={cancel}>Leave <kbd>Esc</kbd></button>
      </div>
    </form>
  );
}

function rest(finding: Written): Omit<Written, 'key' | 'presence'> {
  const { laterality, zone, severity, size_mm, evidence } = finding;
  return {
    ...(laterality === undefined ? {} : { laterality }),
    ...(zone === undefined ? {} : { zone }),
    ...(severity === undefined ? {} : { severity }),
    ...(size_mm === undefined ? {} : { size_mm }),
    evidence,
  };
}
