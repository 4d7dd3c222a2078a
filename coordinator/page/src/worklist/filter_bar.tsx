/** The filters above the worklist. */

import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { CHOICES, STATES, type Filters } from './filters.ts';

/** Each search is on record: it is made when typing pauses. */
const PAUSE_MS = 300;

interface Props {
  filters: Filters;
  counts: Record<string, number>;
  sites: string[];
  modalities: string[];
  change: (next: Partial<Filters>, replace?: boolean) => void;
  search: RefObject<HTMLInputElement | null>;
  leave: () => void;
}

export function FilterBar({ filters, counts, sites, modalities, change, search, leave }: Props) {
  const [typed, setTyped] = useState(filters.text);
  /** What was looked for last from here. */
  const sought = useRef(filters.text);
  const pause = useRef(0);
  const seek = (text: string) => {
    clearTimeout(pause.current);
    if (text === sought.current) return;
    sought.current = text;
    change({ text }, true);
  };
  const latest = useRef(seek);
  latest.current = seek;
  // Other words in the address, from elsewhere, take the place of what was typed.
  useEffect(() => {
    if (filters.text === sought.current) return;
    clearTimeout(pause.current);
    sought.current = filters.text;
    setTyped(filters.text);
  }, [filters.text]);
  useEffect(() => () => clearTimeout(pause.current), []);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const count = (states: string) => (states === '' ? total : states.split(',').reduce((sum, state) => sum + (counts[state] ?? 0), 0));
  const pick = (name: keyof Filters, label: string, options: readonly (readonly [string, string])[]) => (
    <label class="pick">
      <span>{label}</span>
      <select value={name === 'modality' ? filters[name].toUpperCase() : filters[name]} onChange={(event) => change({ [name]: event.currentTarget.value })} class={filters[name] === '' ? '' : 'set'}>
        {options.map(([value, words]) => <option key={value} value={value}>{words}</option>)}
      </select>
    </label>
  );
  const named = (values: string[], chosen: string): [string, string][] => [['', 'any'], ...[...new Set([...values, ...(chosen === '' ? [] : [chosen])])].map((value): [string, string] => [value, value])];
  return (
    <search class="filters">
      <input
        type="search"
        ref={search}
        aria-label="Search patient, ID, accession, description"
        placeholder="Patient, ID, accession …  ( / )"
        value={typed}
        spellcheck={false}
        onInput={(event) => {
          const text = event.currentTarget.value;
          setTyped(text);
          clearTimeout(pause.current);
          pause.current = window.setTimeout(() => latest.current(text), PAUSE_MS);
        }}
        onBlur={(event) => seek(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape' || event.key === 'Enter') {
            event.preventDefault();
            seek(event.currentTarget.value);
            leave();
          }
        }}
      />
      <div class="states" role="group" aria-label="State">
        {[...STATES, ...(STATES.some(({ value }) => value === filters.state) ? [] : [{ value: filters.state, words: filters.state.replaceAll(',', ', ') }])].map(({ value, words }) => (
          <button key={words} aria-pressed={filters.state === value} onClick={() => change({ state: value })}>
            {words} <span class="count">{count(value)}</span>
          </button>
        ))}
      </div>
      {pick('urgency', 'Urgency', CHOICES.urgency)}
      {pick('modality', 'Modality', named(modalities, filters.modality.toUpperCase()))}
      {pick('site', 'Site', named(sites, filters.site))}
      {pick('years', 'Age', CHOICES.years.some(([value]) => value === filters.years) ? CHOICES.years : [...CHOICES.years, [filters.years, filters.years.replace('-', ' to ')]])}
      {pick('age', 'Received', CHOICES.age)}
      {pick('confidence', 'Confidence', CHOICES.confidence)}
      {pick('order', 'Order', CHOICES.order)}
    </search>
  );
}
