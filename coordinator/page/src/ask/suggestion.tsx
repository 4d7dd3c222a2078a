/** What the model suggests for the impression: as a difference, applied by the reader or not at all. */

import { useEffect, useRef } from 'preact/hooks';
import type { Question } from '../api/types.ts';
import { Unverified } from './answer.tsx';
import { difference } from './difference.ts';

/** Two texts as one, with what goes and what comes marked as such. */
export function Difference({ before, after }: { before: string; after: string }) {
  return (
    <p class="difference" dir="auto">
      {difference(before, after).map(({ kind, text }, index) => {
        const gap = index === 0 ? '' : ' ';
        if (kind === 'same') return <span key={index}>{gap}{text}</span>;
        return <span key={index}>{gap}{kind === 'inserted' ? <ins>{text}</ins> : <del>{text}</del>}</span>;
      })}
    </p>
  );
}

interface Props {
  question: Question;
  /** The text as it stands now. */
  now: string;
  /** Makes the suggestion the impression; nothing where that cannot be. */
  apply: ((text: string) => void) | null;
  /** Asks anew, of the text as it stands. */
  again: () => void;
  canAsk: boolean;
  discard: () => void;
  /** Why an explanation is not given to the patient; empty where it may be. */
  refused: string;
  mayGive: boolean;
  /** Prints an explanation on a sheet of its own. */
  print: () => void;
  copy: () => void;
}

/** Whether two texts say the same, however their lines are broken. */
function isSame(a: string, b: string): boolean {
  return a.trim().split(/\s+/).join(' ') === b.trim().split(/\s+/).join(' ');
}

/** What a model said that was to shorten a text and did not: told, and no change to be taken. */
function NoShorter({ answer }: { answer: string }) {
  return (
    <>
      <p class="warning no-shorter">The model's answer is no shorter than the impression, and so it is not offered as a change.</p>
      <details><summary>What it said</summary><blockquote class="said-by-model" dir="auto">{answer}</blockquote></details>
    </>
  );
}

export function Suggestion({ question, now, apply, again, canAsk, discard, refused, mayGive, print, copy }: Props) {
  const { kind, state, answer, text } = question;
  const open = state === 'waiting' || state === 'answering';
  const isShorten = kind === 'shorten';
  const isStale = !isSame(text, now);
  const region = useRef<HTMLElement>(null);
  const before = useRef(state);
  // What was just asked for, and what came of it, is brought into view; what was there before is not.
  useEffect(() => {
    if (open || before.current !== state) region.current?.scrollIntoView({ block: 'nearest' });
    before.current = state;
  }, [state]);
  const heading = isShorten ? 'A shorter impression, suggested' : 'An explanation for the patient, suggested';
  return (
    <section ref={region} class={`suggestion k-${kind}`} aria-label={heading} aria-busy={open}>
      <h3>{heading} <span class="tag">not part of the report</span></h3>
      {open && <p class="muted" role="status">{state === 'waiting' ? 'Waiting for a model' : 'The model is answering'}</p>}
      {state === 'failed' && <p class="problem" role="status">Not answered: {question.problem ?? 'the model gave no answer'}</p>}
      {isStale && <p class="warning stale" role="status">The text has changed since this was asked: it is about the words as they were.</p>}
      {answer !== null && isShorten && (isSame(text, answer) ? <p>The model suggests the same words.</p> : question.no_shorter ? <NoShorter answer={answer} /> : <Difference before={text} after={answer} />)}
      {answer !== null && !isShorten && (
        <>
          <blockquote class="said-by-model" dir="auto">{answer}</blockquote>
          <details><summary>What differs from the impression</summary><Difference before={text} after={answer} /></details>
        </>
      )}
      {question.truncated && <p class="warning">It ends where the model reached its longest: the rest is missing, and so it cannot be {isShorten ? 'applied' : 'printed or copied'}.</p>}
      {refused !== '' && <p class="warning refused" role="alert">{refused}</p>}
      {answer !== null && <Unverified question={question} />}
      <div class="acts">
        {answer !== null && isShorten && !isStale && !question.truncated && !question.no_shorter && apply !== null && <button type="button" class="primary" onClick={() => apply(answer)}>Apply</button>}
        {(isStale || state === 'failed') && !open && <button type="button" disabled={!canAsk} onClick={again}>Ask again</button>}
        {answer !== null && !isShorten && !question.truncated && !isStale && mayGive && <><button type="button" onClick={copy}>Copy</button><button type="button" onClick={print}>Print</button></>}
        <button type="button" class="plain" onClick={discard}>{open ? 'Cancel' : 'Discard'}</button>
      </div>
    </section>
  );
}
