/** An explanation for the patient, on paper or taken along: with what it is, and never without. */

import { createPortal } from 'preact/compat';
import type { Question, Row } from '../api/types.ts';
import { date, personName } from '../words.ts';
import { statements } from './answer.tsx';

interface Props {
  question: Question;
  row: Row;
  /** What is explained is not what was signed. */
  isUnsigned: boolean;
  /** A draft that came after what is explained; nothing where none did. */
  draft: number | null;
}

/** What an explanation says of itself, in lines. */
export function caveats({ question, isUnsigned, draft }: Omit<Props, 'row'>): string[] {
  return [
    ...(isUnsigned ? ['It explains a text that no radiologist has signed.'] : []),
    ...(draft !== null ? [`A newer draft of the report, version ${draft}, is not signed yet: what is said here may change.`] : []),
    ...statements(question),
  ];
}

/** Copies words. Where the page is not served over TLS, browsers have only the old way. */
export async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard !== undefined) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

export function PatientSheet({ question, row, isUnsigned, draft }: Props) {
  return createPortal(
    <section class="patient-sheet">
      <h1>An explanation of the report</h1>
      <p>{personName(row.patient.name)}, ID {row.patient.id || 'not known'}. {[row.description, date(row.study_date)].filter((word) => word !== '').join(', ')}</p>
      {caveats({ question, isUnsigned, draft }).map((line) => <p key={line}><b>{line}</b></p>)}
      <p class="text">{question.answer}</p>
    </section>, document.body);
}
