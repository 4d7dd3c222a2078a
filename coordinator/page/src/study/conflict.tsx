/** Two that differ, side by side, and the choice. Nothing is lost: what was here can be had back by undo. */

import type { Finding, Report, WorkingCopy } from '../api/types.ts';
import { hasImpression } from '../edit/model.ts';
import { coded, decision } from '../words.ts';
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
      <ul>{lines.map((line, index) => <li key={index} dir="auto">{line}</li>)}</ul>
      <button onClick={run}>{action}</button>
    </div>
  );
}

/** What a reader made of the findings of a version, in lines; `names` are those of the vocabulary. */
export function linesOf(copy: WorkingCopy, findings: Finding[], names: Map<string, string>): string[] {
  const called = (index: number) => (findings[index] === undefined ? `Finding ${index + 1}` : coded(findings[index]));
  const decided = copy.decisions.flatMap((each, index) => (each.decision === null ? [] : [`${called(index)}: ${decision(each, names)}`]));
  const added = copy.added.map(({ finding, words }) => `Added: ${[coded({ ...finding, name: names.get(finding.key) ?? finding.key.replaceAll('_', ' ') }), ...(words === '' ? [] : [`"${words}"`])].join(', ')}`);
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
  return [...report.findings.map((each) => [coded(each), each.sentence ?? ''].filter((part) => part !== '').join(': ')), ...(report.impression.length > 0 ? [`Impression: ${report.impression.map((each) => each.text).join(' ')}`] : [])];
}

/** Decisions that were not carried over to another version, in lines. */
export interface Strayed {
  lost: string[];
  differs: string[];
}

export const NONE: Strayed = { lost: [], differs: [] };

/** Tells of decisions that were not carried over, until the reader has seen that. */
export function StrayedList({ lost, differs, seen }: Strayed & { seen: () => void }) {
  if (lost.length + differs.length === 0) return null;
  const list = (heading: string, lines: string[]) => lines.length > 0 && (
    <>
      <p>{heading}</p>
      <ul>{lines.map((line) => <li key={line} dir="auto">{line}</li>)}</ul>
    </>
  );
  return (
    <div class="newer" role="status">
      {list('These findings are others now than you decided on, and are to be decided again:', differs)}
      {list('These of your decisions found no finding in the newest version:', lost)}
      <button class="plain" onClick={seen}>I have seen them</button>
    </div>
  );
}
