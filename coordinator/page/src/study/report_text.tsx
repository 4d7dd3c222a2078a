/** The report in words, as it would be signed now. Pointing at a sentence shows its finding. */

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Finding, Prior, ReportBody, Statement, Version, WordsFrom } from '../api/types.ts';
import { changed, date, inserted, isSameName, moment, origins, personName, standingWord } from '../words.ts';

/** Longest impression that can be kept, in characters: what is longer was pasted by mistake. */
const MAX_TEXT = 50_000;

interface Props {
  report: ReportBody;
  /** In the reader's own words; empty where it is made from the findings. */
  impression: string[];
  /** What it is made of where the reader wrote none; nothing until that is known. */
  made: string[] | null;
  /** It is that of the signed report still. */
  isAsSigned: boolean;
  editable: boolean;
  isOld: boolean;
  chosen: number | null;
  point: (statement: Statement) => void;
  write: (lines: string[]) => void;
  /** Where the words of a report that was reviewed are from; empty for a draft. */
  words: WordsFrom[];
  /** What stands below the impression. */
  children?: ComponentChildren;
}

export function ReportText({ report, impression, made, isAsSigned, editable, isOld, chosen, point, write, words, children }: Props) {
  const own = impression.length > 0;
  /** The reader emptied the box and has not left it: what is typed next takes the place of what is shown in it. */
  const [emptied, setEmptied] = useState(false);
  const shown = own ? impression : (made ?? []);
  const taken = report.inserted ?? [];
  const origin = own ? (taken.length > 0 ? 'your words, with a model\'s' : 'your words') : isAsSigned ? 'unchanged' : 'made from the findings';
  return (
    <section class={`report-text ${isOld ? 'is-old' : ''}`} aria-label="Report">
      <h2>Report</h2>
      {report.findings_text.length > 0 && (
        <>
          <h3>Findings</h3>
          <p class="sentences" dir="auto">
            {report.findings_text.map((each, index) => (
              <button key={index} class={chosen !== null && each.findings.includes(chosen) ? 'said on' : 'said'} onClick={() => point(each)}>{each.text}</button>
            ))}
          </p>
        </>
      )}
      <h3 id="impression">Impression {editable && <span class="tag">{origin}</span>}</h3>
      {editable ? (
        <>
          {/* On paper text boxes keep their size and are cut. */}
          <p class="sentences on-paper" dir="auto">{shown.length === 0 ? 'None.' : shown.map((line, index) => <span key={index} dir="auto">{line}</span>)}</p>
          <textarea dir="auto" aria-labelledby="impression" maxLength={MAX_TEXT} class={own ? 'own' : ''} rows={Math.max(2, shown.length)} value={emptied ? '' : shown.join('\n')} placeholder={made === null ? 'It is made from the findings.' : made.join('\n')} spellcheck
            onInput={(event) => {
              const text = event.currentTarget.value;
              setEmptied(text.trim() === '');
              write(text.split('\n'));
            }}
            onBlur={() => setEmptied(false)}
            onKeyDown={(event) => { if (event.key === 'Escape') event.currentTarget.blur(); }} />
          {own && <button class="plain" onClick={() => write([])}>Make it from the findings again</button>}
        </>
      ) : (
        <p class="sentences" dir="auto">{report.impression.map((each) => each.text).join(' ') || 'None.'}</p>
      )}
      {taken.map((each) => <p class="fine inserted" key={`${each.passage ?? ''} ${each.sentence} ${each.answered_at_ms}`}>{inserted(each)}</p>)}
      {children}
      {words.length > 0 && <details class="origins"><summary>Whose words these are</summary><ul>{origins(words).map((line) => <li key={line}>{line}</li>)}</ul></details>}
      {report.comparison.length > 0 && <><h3>Comparison</h3><p dir="auto">{report.comparison.join(' ')}</p></>}
      {report.technique.length > 0 && <><h3>Technique</h3><p dir="auto">{report.technique.join(' ')}</p></>}
      {report.unread.length > 0 && (
        <details open={report.partial}>
          <summary>{report.partial ? 'Partial: ' : ''}{report.unread.length} {report.unread.length === 1 ? 'object was' : 'objects were'} not read</summary>
          <ul class="unread">{report.unread.slice(0, 50).map((each) => <li key={each.instance}>{each.detail}</li>)}</ul>
        </details>
      )}
    </section>
  );
}

/** What the report could not do, said beside what it is and not below it. */
export function Limitations({ report }: { report: ReportBody }) {
  const { limitations, partial, unread } = report;
  const lines = [...(partial ? [`Partial: ${unread.length} ${unread.length === 1 ? 'object was' : 'objects were'} not read.`] : []), ...limitations];
  if (lines.length === 0) return null;
  return <ul class="limitations" aria-label="Limitations">{lines.map((line) => <li key={line}>{line}</li>)}</ul>;
}

interface PriorsProps {
  priors: Prior[];
  /** The patient's name as this study has it. */
  name: string;
  /** Which one hangs beside. */
  beside: string;
  show: (uid: string) => void;
  /** Those of the report that compares. */
  findings: Finding[];
  names: Map<string, string>;
  /** Shows a finding of that report. */
  choose: (finding: number) => void;
}

/** The name that another study has the patient under; nothing where it is that of this one. */
function otherName({ patient_name }: Prior, name: string): string | null {
  return patient_name === undefined || isSameName(patient_name, name) ? null : personName(patient_name);
}

/** The earlier study that hangs beside first: the one that the report is compared with, or else one that it names. One under another
 * name hangs there only where the report takes it for the patient's. */
export function foremost(priors: Prior[], name: string): Prior | undefined {
  const earlier = priors.filter((each) => each.is_later !== true);
  return earlier.find((each) => each.compared) ?? earlier.find((each) => each.taken === true) ?? earlier.find((each) => otherName(each, name) === null);
}

export function Priors({ priors, name, beside, show, findings, names, choose }: PriorsProps) {
  const earlier = priors.filter((each) => each.is_later !== true);
  const later = priors.filter((each) => each.is_later === true);
  const first = foremost(priors, name);
  const list = (heading: string, some: Prior[]) => some.length > 0 && (
    <section aria-label={heading} class="priors">
      <h2>{heading}</h2>
      <ul>
        {some.map((prior) => (
          <li key={prior.uid} class={beside === prior.uid ? 'on' : ''}>
            {otherName(prior, name) !== null && <p class="warning">Under another name: <b dir="auto">{otherName(prior, name)}</b></p>}
            <p dir="auto"><b>{date(prior.date)}</b> {prior.description} <span class="tag">{prior.report === null ? 'no report' : standingWord(prior.report.standing)}</span></p>
            {prior.report !== null && prior.report.standing !== 'rejected' && <p class="muted" dir="auto">{prior.report.sentences.join(' ')}</p>}
            {prior.report !== null && prior.report.standing !== 'rejected' && (prior.report.impression ?? []).length > 0 && <p class="muted" dir="auto"><b>Impression.</b> {prior.report.impression?.join(' ')}</p>}
            {(prior.changes ?? []).length > 0 && (
              <ul class="changes" aria-label="What changed since">
                {prior.changes?.map((each, index) => {
                  const place = each.finding;
                  const said = changed(each, findings, names);
                  return <li key={index} class={`change-${each.change}`}>{place === undefined ? said : <button class="said" onClick={() => choose(place)}>{said}</button>}</li>;
                })}
              </ul>
            )}
            {prior.since && <p class="warning">{prior.since}</p>}
            <p class="fine">{prior.compared ? 'The report compares with it, finding by finding.' : `The report ${prior.taken === true ? 'names it, and does not compare with it finding by finding' : 'does not compare with it'}${prior.reasons.length > 0 ? `: ${prior.reasons.join('; ')}` : ''}.`}</p>
            <button onClick={() => show(prior.uid)}>{beside === prior.uid ? 'Take away' : 'Show beside'} {first === prior && <kbd>p</kbd>}</button>
          </li>
        ))}
      </ul>
    </section>
  );
  return <>{list('Earlier studies', earlier)}{list('Later studies', later)}</>;
}

export function Versions({ versions, shown, show }: { versions: Version[]; shown: number; show: (version: number) => void }) {
  return (
    <section aria-label="Versions" class="versions">
      <h2>Versions</h2>
      <ol>
        {versions.toSorted((a, b) => b.version - a.version).map((each) => (
          <li key={each.version} class={shown === each.version ? 'on' : ''}>
            <button class="plain" onClick={() => show(each.version)} aria-current={shown === each.version ? 'true' : undefined}>
              <b>{each.version}</b> {standingWord(each.standing)} <span class="muted">{moment(each.at_ms)}{each.by && <>, <bdi>{personName(each.by)}</bdi></>}</span>
            </button>
            {each.reason && <p class="fine" dir="auto">{each.reason}</p>}
          </li>
        ))}
      </ol>
    </section>
  );
}
