/** Below the impression: what the model can be asked to make of it. Nothing is changed before the reader says so. */

import { useLayoutEffect, useState } from 'preact/hooks';
import { words } from '../api/client.ts';
import type { QuestionKind, Report, Row } from '../api/types.ts';
import { caveats, copyText, PatientSheet } from './patient_sheet.tsx';
import { Suggestion } from './suggestion.tsx';
import type { Asking } from './use_questions.ts';

/** Longest text that is sent, in characters. */
const MAX_TEXT = 8_000;

interface Props {
  asking: Asking;
  row: Row;
  report: Report;
  /** The version that was signed after the one that is shown; nothing where none was. */
  later: number | null;
  /** The impression as it stands; nothing until that is known. */
  now: string | null;
  /** Makes these words the impression; nothing where that cannot be. */
  apply: ((text: string) => void) | null;
  say: (text: string) => void;
}

function supersededBy(version: number): string {
  return `Version ${version} of the report was signed since, and stands in the place of the one that this explains: show that, and ask again.`;
}

export function ImpressionHelp({ asking, row, report, later, now, apply, say }: Props) {
  const [printing, setPrinting] = useState(false);
  /** Why the explanation was not given out. */
  const [refused, setRefused] = useState('');
  /** A draft that came after what is explained; nothing where none did. */
  const [draft, setDraft] = useState<number | null>(null);
  const newest = (wanted: QuestionKind) => asking.questions.find(({ kind }) => kind === wanted);
  const [shorten, explain] = [newest('shorten'), newest('explain')];
  const text = now?.trim() ?? '';
  const why = asking.reason === null ? '' : asking.reason !== '' ? asking.reason : text.length > MAX_TEXT ? `The impression has more than ${MAX_TEXT} characters.` : '';
  const canAsk = asking.reason === '' && !asking.busy && text !== '' && text.length <= MAX_TEXT;
  const ask = async (kind: QuestionKind) => {
    const before = newest(kind);
    if (canAsk && (await asking.ask({ kind, text })) && before !== undefined) asking.forget(before.id);
  };
  const isSigned = report.status === 'signed' || report.status === 'amended';
  const signed = report.report.impression.map((each) => each.text).join('\n').trim();
  const isUnsigned = !isSigned || explain?.text.split(/\s+/).join(' ').trim() !== signed.split(/\s+/).join(' ');

  useLayoutEffect(() => {
    if (!printing) return;
    const root = document.documentElement;
    root.dataset['print'] = 'patient';
    const done = () => setPrinting(false);
    addEventListener('afterprint', done);
    window.print();
    return () => {
      removeEventListener('afterprint', done);
      delete root.dataset['print'];
    };
  }, [printing]);

  /** Prints or copies the explanation, unless what it explains stands no longer. It is looked up: this page may have missed it. */
  const give = async (how: 'print' | 'copy') => {
    if (explain === undefined) return;
    setRefused('');
    try {
      const { version } = report.report;
      const newest = await asking.standing();
      if (newest.signed_version > version) return setRefused(supersededBy(newest.signed_version));
      if (newest.version > version && newest.standing === 'rejected') return setRefused('The draft that this explains was rejected: it is not for the patient.');
      const next = newest.version > version ? newest.version : null;
      setDraft(next);
      if (how === 'print') return setPrinting(true);
      const done = await copyText([explain.answer, ...caveats({ question: explain, isUnsigned, draft: next })].join('\n\n'));
      say(done ? 'Copied with what it is' : 'It could not be copied');
    } catch (error) {
      setRefused(`It is not given out, for whether the report was amended since cannot be known: ${words(error)}`);
    }
  };
  const take = async (id: string, shorter: string) => {
    if (apply === null || !(await asking.take(id))) return;
    apply(shorter);
    asking.forget(id);
    say('The shorter impression was taken, and the report says whose words they are. Control Z brings back the other.');
  };
  const of = (kind: 'shorten' | 'explain') => {
    const question = newest(kind);
    if (question === undefined || (kind === 'shorten' && apply === null)) return null;
    return (
      <Suggestion key={kind} question={question} now={text} canAsk={canAsk} again={() => void ask(kind)} discard={() => asking.forget(question.id)}
        apply={apply === null ? null : (shorter) => void take(question.id, shorter)}
        refused={kind === 'shorten' ? '' : later !== null ? supersededBy(later) : refused} mayGive={later === null}
        print={() => void give('print')} copy={() => void give('copy')} />
    );
  };
  // What the models here were not made for is not offered; where none answers, the buttons say why.
  const isOffered = (kind: QuestionKind) => asking.reason !== '' || asking.kinds.includes(kind);
  return (
    <div class="impression-help">
      <div class="acts">
        {apply !== null && isOffered('shorten') && <button type="button" disabled={!canAsk} title={why} onClick={() => void ask('shorten')}>Shorten the impression</button>}
        {isOffered('explain') && <button type="button" disabled={!canAsk} title={why} onClick={() => void ask('explain')}>Explain for the patient</button>}
      </div>
      {shorten && of('shorten')}
      {explain && of('explain')}
      {printing && explain !== undefined && <PatientSheet question={explain} row={row} isUnsigned={isUnsigned} draft={draft} />}
    </div>
  );
}
