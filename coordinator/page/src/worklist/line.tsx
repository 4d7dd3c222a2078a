/** One study in the worklist. */

import { useRef } from 'preact/hooks';
import type { Row, Urgency } from '../api/types.ts';
import { ageAt, confidenceWord, date, percent, personName, pressing, requested, since, standingWord } from '../words.ts';

export const HEADINGS = [
  { name: 'urgency', words: 'Urgency' },
  { name: 'patient', words: 'Patient' },
  { name: 'id', words: 'ID' },
  { name: 'age', words: 'Age' },
  { name: 'modality', words: 'Modality' },
  { name: 'study', words: 'Study' },
  { name: 'date', words: 'Date' },
  { name: 'site', words: 'Site' },
  { name: 'received', words: 'Received' },
  { name: 'findings', words: 'Findings' },
  { name: 'confidence', words: 'Least confident' },
  { name: 'state', words: 'State' },
  { name: 'readers', words: 'Reading' },
] as const;

interface Props {
  row: Row;
  index: number;
  now: number;
  selected: boolean;
  me: string;
  y: number;
  choose: () => void;
  open: () => void;
}

/** What a radiologist signed or rejected has no model's confidence of its own. */
function isReviewed(row: Row): boolean {
  return row.standing !== null && row.standing !== 'unsigned_draft';
}

function stateOf(row: Row): string {
  if (row.state === 'drafted') return 'unsigned draft';
  if (row.state === 'removing') return 'being removed';
  return row.standing !== null && row.standing !== 'unsigned_draft' ? standingWord(row.standing) : row.state;
}

type Source = 'requested' | 'by the draft' | 'by the signed report' | 'by the rejected draft';

/** What was asked for, and what the report says, each in its words; what is in its turn is said where nothing else is. */
function urgencies(row: Row): { by: Source; level: Urgency; words: string }[] {
  const { priority, urgency } = row;
  const asked = requested(priority);
  const source: Source = !isReviewed(row) ? 'by the draft' : row.standing === 'rejected' ? 'by the rejected draft' : 'by the signed report';
  const marks: { by: Source; level: Urgency; words: string }[] = [];
  if (asked !== null) marks.push({ by: 'requested', level: asked, words: priority === 'stat' ? 'STAT' : priority });
  if (urgency !== null && (asked === null || urgency !== 'routine')) marks.push({ by: source, level: urgency, words: urgency });
  return marks;
}

/** Letters that two lines of a cell hold on a small screen, whatever its font. */
const LONG: Record<string, number> = { patient: 36, id: 20, study: 40, site: 20 };

/** Cells with what people wrote, each in its own direction. */
const AS_WRITTEN = new Set(['patient', 'study', 'site']);

export function Line({ row, index, now, selected, me, y, choose, open }: Props) {
  const { patient } = row;
  const marks = urgencies(row);
  /** What is pointed with: a finger has no second click to spare, and opens at once. */
  const pointer = useRef('mouse');
  const old = now - row.received_at_ms > 4 * 3_600_000 && row.state === 'drafted';
  const cell = (name: string, content: preact.ComponentChildren, title?: string) => {
    const long = typeof content === 'string' && content.length > (LONG[name] ?? Infinity);
    return <span role="gridcell" class={long ? `c-${name} is-long` : `c-${name}`} title={title} dir={AS_WRITTEN.has(name) ? 'auto' : undefined}>{content}</span>;
  };
  return (
    <div role="row" id={`row-${index}`} aria-rowindex={index + 2} aria-selected={selected} class={`line u-${pressing(row) ?? 'none'} s-${row.state}`} style={{ transform: `translateY(${y}px)` }} 
      onPointerDown={(event) => { pointer.current = event.pointerType; }} onClick={() => (pointer.current === 'touch' ? open() : choose())} onDblClick={open}>
      {cell('urgency', marks.map(({ by, level, words }) => <span key={by} class={by === 'requested' ? `mark asked u-${level}` : `mark u-${level}`}>{words}<span class="hidden">{` ${by}`}</span></span>), marks.map(({ by, words }) => `${words}: ${by}`).join('; '))}
      {cell('patient', personName(patient.name), personName(patient.name))}
      {cell('id', patient.id, patient.id)}
      {cell('age', [ageAt(patient.birth_date, row.study_date), patient.sex].filter((word) => word !== '').join(' '))}
      {cell('modality', row.modalities.join(' '))}
      {cell('study', row.problem ? <span class="row-problem">{row.problem}</span> : [row.description, row.body_part].filter((word) => word).join(' · '), row.problem ?? row.description)}
      {cell('date', date(row.study_date))}
      {cell('site', row.institution, [row.institution, row.station].join(' · '))}
      {cell('received', <span class={old ? 'old' : ''}>{since(row.received_at_ms, now)}</span>)}
      {cell('findings', row.version > 0 && row.standing !== 'rejected' ? row.findings : '')}
      {cell('confidence', row.confidence === null || isReviewed(row) ? '' : <span class={`conf conf-${confidenceWord(row.confidence).replace(' ', '-')}`}>{percent(row.confidence)} <i>{confidenceWord(row.confidence)}</i></span>)}
      {cell('state', <span class={`state state-${row.state}`}>{stateOf(row)}</span>)}
      {cell('readers', row.readers.map((reader) => <span key={reader.id} class={reader.id === me ? 'reader me' : 'reader'}>{reader.id === me ? 'you' : personName(reader.name)}</span>), row.readers.map((reader) => personName(reader.name)).join('; '))}
    </div>
  );
}
