/** Two that differ, side by side, and the choice. Nothing is lost: what was here can be had back by undo. */

import type { Report, WorkingCopy } from '../api/types.ts';
import { hasImpression } from '../edit/model.ts';
import { rejection } from './rejected.tsx';

interface SideProps {
  heading: string;
  lines: string[];
  action: string;
  run: () => void;
}

function Side({ heading, lines, action, run }: SideProps) {
  return (
    <div class="side">
      <h3>{heading}</h3>
      <ul>{lines.map((line, index) => <li key={index}>{line}</li>)}</ul>
      <button onClick={run}>{action}</button>
    </div>
  );
}

/** What a reader made of a version, in lines. */
export function linesOf(copy: WorkingCopy, names: string[]): string[] {
  const word = { accept: 'accepted', change: 'changed', reject: 'rejected' } as const;
  const decided = copy.decisions.flatMap((each, index) => (each.decision === null ? [] : [[`${names[index] ?? `finding ${index + 1}`}: ${word[each.decision]}`, each.words, each.reason].filter((part) => part !== '').join('. ')]));
  const added = copy.added.map((each) => `added: ${each.words || each.finding.key.replaceAll('_', ' ')}`);
  const lines = [...decided, ...added, ...(hasImpression(copy) ? [`impression: ${copy.impression.join(' ')}`] : [])];
  if (lines.length === 0) return ['nothing yet'];
  return hasImpression(copy) ? lines : [...lines, 'impression: made from the findings'];
}

interface Props {
  title: string;
  why: string;
  theirs: { heading: string; lines: string[]; action: string; run: () => void };
  mine: { heading: string; lines: string[]; action: string; run: () => void };
}

export function Conflict({ title, why, theirs, mine }: Props) {
  return (
    <section class="conflict" role="alert" aria-label={title}>
      <h2>{title}</h2>
      <p>{why}</p>
      <div class="sides">
        <Side {...theirs} />
        <Side {...mine} />
      </div>
    </section>
  );
}

export function linesOfReport(of: Report): string[] {
  if (of.status === 'rejected') return rejection(of);
  const { report } = of;
  return [...report.findings_text.map((each) => each.text), ...(report.impression.length > 0 ? [`Impression: ${report.impression.map((each) => each.text).join(' ')}`] : [])];
}
