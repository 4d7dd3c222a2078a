/** One thing that was asked, and what came of it: apart from the report, and said to be unverified each time. */

import type { Box, Question } from '../api/types.ts';
import { find, type Stack } from '../viewer/frames.ts';
import { clock } from '../words.ts';

const HEADINGS = { question: '', describe: 'Describe the image', shorten: 'Shorten the impression', explain: 'Explain for the patient' } as const;

/** An image as the viewer names it. */
export function imageName(stacks: Stack[], instance: string, frame: number): string {
  const found = find(stacks, instance, frame);
  const stack = found === null ? undefined : stacks[found.stack];
  if (found === null || stack === undefined) return 'an image that is not shown';
  return stack.frames.length > 1 ? `${stack.label}, slice ${found.index + 1}` : stack.label;
}

function hasBox(image: { box?: Box | null }): boolean {
  return image.box !== undefined && image.box !== null;
}

/** Which model answered. */
function by({ model, adapter }: Question): string {
  return [model ?? '', adapter ?? ''].filter((name) => name !== '').join(', adapter ');
}

/** What every answer says of itself. */
export function statements({ statement, demonstration }: Question): string[] {
  const said = statement ?? 'An answer by software that is not a medical device. Nobody has verified it.';
  return demonstration && !/demonstration/i.test(said) ? ['Made with demonstration weights: it says nothing about patients.', said] : [said];
}

export function Unverified({ question }: { question: Question }) {
  return <p class={question.demonstration ? 'unverified is-demonstration' : 'unverified'}>{statements(question).join(' ')}</p>;
}

interface Props {
  question: Question;
  stacks: Stack[];
  /** Shows what was asked about, or looked at. */
  jump: (instance: string, series: string, frame: number, question: Question) => void;
  /** Adds the answer to the impression; nothing where that cannot be now. */
  insert: (() => void) | null;
  /** It was added to the impression. */
  isInserted: boolean;
  /** Why it cannot; nothing for who may not at all. */
  whyNot: string | null;
  forget: () => void;
  /** Asks the same once more; nothing where that cannot be now. */
  again: (() => void) | null;
}

export function Answer({ question, stacks, jump, isInserted, forget, ...props }: Props) {
  const { kind, text, image, state, answer, problem } = question;
  // Half a sentence may say the opposite of the whole.
  const mayInsert = props.insert !== null || props.whyNot !== null;
  const insert = question.truncated ? null : props.insert;
  const whyNot = question.truncated && mayInsert ? 'It is cut off: the rest is missing' : props.whyNot;
  const heading = text.trim() !== '' && kind === 'question' ? text : HEADINGS[kind];
  const series = image === null ? '' : (stacks.find((stack) => find([stack], image.instance, image.frame) !== null)?.frames[0]?.series ?? '');
  const open = state === 'waiting' || state === 'answering';
  const took = question.seconds === null ? '' : `${question.seconds < 10 ? question.seconds.toFixed(1) : Math.round(question.seconds)} s`;
  const link = (instance: string, of: string, frame: number, box: boolean) => (
    <button type="button" class="link" onClick={() => jump(instance, of, frame, question)}>{imageName(stacks, instance, frame)}{box ? ', the box' : ''}</button>
  );
  return (
    <li class={`answer s-${state}`} data-question={question.id} aria-busy={open}>
      <p class="asked"><b dir="auto">{heading}</b>{image !== null && <span class="about"> about {link(image.instance, series, image.frame, hasBox(image))}</span>}</p>
      {state === 'waiting' && <p class="muted" role="status">Waiting for a model</p>}
      {state === 'answering' && <p class="muted" role="status">The model is answering</p>}
      {state === 'failed' && <p class="problem" role="status">Not answered: {problem ?? 'the model gave no answer'}</p>}
      {answer !== null && <blockquote class="said-by-model" dir="auto">{answer}</blockquote>}
      {question.truncated && <p class="warning">The answer ends where the model reached its longest: the rest is missing.</p>}
      {question.images.length > 0 && (
        <p class="looked-at">It looked at {question.images.map((each, index) => <span key={`${each.instance} ${each.frame}`}>{index > 0 ? ', ' : ''}{link(each.instance, each.series, each.frame, hasBox(each))}</span>)}</p>
      )}
      {answer !== null && image !== null && hasBox(image) && !question.images.some(hasBox) && <p class="warning">The model was shown the whole image, and not the box by itself.</p>}
      {answer !== null && <Unverified question={question} />}
      <div class="acts">
        {answer !== null && (insert !== null || whyNot !== null) && <button type="button" disabled={insert === null} onClick={insert ?? undefined} title={insert === null ? (whyNot ?? '') : 'Adds these words to the impression. Ctrl Z takes them out.'}>{isInserted ? 'Insert into impression again' : 'Insert into impression'}</button>}
        {state === 'failed' && <button type="button" disabled={props.again === null} onClick={props.again ?? undefined}>Ask again</button>}
        <button type="button" class="plain" onClick={forget}>{open ? 'Cancel' : 'Forget'}</button>
        <span class="fine">{[by(question), clock(question.answered_at_ms ?? question.asked_at_ms), took].filter((part) => part !== '').join(' · ')}{isInserted ? ' · inserted, and the report says so' : ''}</span>
      </div>
    </li>
  );
}
