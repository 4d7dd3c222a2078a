/** What stands at the top of every page on paper: whose report it is, how it stands, and what that means. */

import type { Patient, Report, Row, Version } from '../api/types.ts';
import { date, personName } from '../words.ts';
import { NAMES, stillStands } from './banner.tsx';

interface Props {
  row: Row;
  report: Report | null;
  newest: number;
  superseding: number | null;
  /** The signed version that stands beside this draft. */
  standing: Version | null;
  isAmending: boolean;
  /** This draft was rejected since. */
  isRejected: boolean;
}

export function PaperHead({ row, report, newest, superseding, standing, isAmending, isRejected }: Props) {
  const called = report === null ? row.state : isAmending ? 'AMENDMENT, NOT SIGNED' : `${superseding === null ? '' : 'SUPERSEDED, '}${isRejected ? NAMES.rejected : NAMES[report.status]}`;
  const version = report === null ? '' : `version ${report.report.version}${newest > report.report.version ? ` of ${newest}` : ''}`;
  const said = report === null ? 'There is no report of this study yet.' : isAmending ? 'Edits of a signed report, which nobody has signed. The signed report stands as it was.' : isRejected ? `This draft was rejected, which version ${report.report.version + 1} says. ${report.statement}` : report.statement;
  return (
    <div class="paper-head">
      <p><b class="name" dir="auto">{personName(row.patient.name)}</b> <span>ID {row.patient.id || 'not known'}</span> <span>born {born(row.patient)}</span> <span dir="auto">{[row.description, date(row.study_date), row.accession].filter((word) => word !== '').join(' · ')}</span></p>
      <p><b>{called}</b> {version}</p>
      {standing !== null && <p>{stillStands(standing)}</p>}
      <p class="said-of-it" dir="auto">{said}</p>
    </div>
  );
}

function born({ birth_date }: Patient): string {
  return date(birth_date) || 'not known';
}
