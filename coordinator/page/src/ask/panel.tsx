/** Asking the model in plain words about the open study. It lies below the report, and is no part of it. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Question } from '../api/types.ts';
import type { Stack } from '../viewer/frames.ts';
import { Answer, imageName } from './answer.tsx';
import { halfTyped, keepHalfTyped } from './half_typed.ts';
import type { Ask } from './use_ask.ts';

/** Longest question, in characters. */
const MAX_TEXT = 2_000;
/** While the panel is open, or something waits, it looks again whether somebody answers. */
const AGAIN_MS = 5_000;

interface Props {
  ask: Ask;
  /** Who asks, about which study. */
  who: string;
  study: string;
  stacks: Stack[];
  /** Adds an answer to the impression; nothing where that cannot be now. */
  insert: ((question: Question) => void) | null;
  /** Why it cannot; nothing for who may not at all. */
  whyNot: string | null;
}

export function AskPanel({ ask, who, study, stacks, insert, whyNot }: Props) {
  const { asking, open, setOpen, shown, region, setRegion, isDrawing } = ask;
  const [text, setText] = useState(() => halfTyped(who, study));
  const [about, setAbout] = useState<'study' | 'image'>('study');
  const body = useRef<HTMLDivElement>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const { questions, reason, look } = asking;
  const listed = questions.filter(({ kind }) => kind === 'question' || kind === 'describe');
  const waiting = listed.filter(({ state }) => state === 'waiting' || state === 'answering').length;
  const target = region ?? (about === 'image' ? shown : null);
  const can = reason === '' && !asking.busy;

  useEffect(() => {
    if (!open && waiting === 0) return;
    look();
    const timer = setInterval(look, AGAIN_MS);
    return () => clearInterval(timer);
  }, [open, waiting === 0, look]);

  // Before the next key can come, or the page goes.
  useLayoutEffect(() => keepHalfTyped(who, study, text), [who, study, text]);
  useLayoutEffect(() => {
    if (ask.focus > 0) box.current?.focus();
  }, [ask.focus]);

  const submit = async () => {
    const asked = text.trim();
    if (!can || asked === '') return;
    const taken = await asking.ask({ kind: 'question', text: asked, ...(target === null ? {} : { image: target }) });
    if (!taken) return;
    // What was typed meanwhile stays.
    setText((now) => (now.trim() === asked ? '' : now));
    body.current?.scrollTo({ top: 0 });
  };

  const askAgain = async ({ id, kind, text: asked, image }: Question) => {
    if (await asking.ask({ kind, text: asked, ...(image === null ? {} : { image }) })) asking.forget(id);
  };

  const count = text.trim() !== '' && !open ? 'a question is not sent yet' : listed.length === 0 ? '' : waiting > 0 ? `${waiting} waiting` : `${listed.length} ${listed.length === 1 ? 'answer' : 'answers'}`;
  return (
    <section class={`ask-panel ${open ? 'is-open' : ''}`} aria-label="Ask the study">
      <h2>
        <button class="plain" aria-expanded={open} aria-controls="ask-body" onClick={() => setOpen(!open)}><span aria-hidden="true">{open ? '▾' : '▸'}</span> Ask <kbd>q</kbd></button>
        <span class="fine">{count}</span>
        <span class="fine apart">not part of the report</span>
      </h2>
      <div id="ask-body" class="ask-body" ref={body} hidden={!open} tabIndex={open ? 0 : -1} role="region" aria-label="Questions and answers">
        {reason !== null && reason !== '' && <p class="nobody" role="status">{reason}</p>}
        <form class="ask-form" aria-label="Question" onSubmit={(event) => { event.preventDefault(); void submit(); }}>
          <textarea ref={box} dir="auto" aria-label="Ask about this study in plain words" rows={2} maxLength={MAX_TEXT} value={text} class={text === '' ? '' : 'own'} placeholder="Ask in plain words" spellcheck
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Escape') event.currentTarget.blur();
              else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                void submit();
              }
            }} />
          <div class="acts">
            <span class="about-what" role="group" aria-label="About what">
              <button type="button" aria-pressed={target === null} title="Those in which findings were seen that your words name, or else others, as many as the model takes: the answer says which" onClick={() => { setAbout('study'); setRegion(null); }}>{stacks.some(({ kind, prior, frames }) => kind === 'ct' && prior === null && frames.length > 1) ? 'Slices it chooses' : 'Images it chooses'}</button>
              <button type="button" aria-pressed={target !== null && region === null} disabled={shown === null} onClick={() => { setAbout('image'); setRegion(null); }}>{shown === null ? 'This image' : imageName(stacks, shown.instance, shown.frame)}</button>
              <button type="button" aria-pressed={region !== null || isDrawing} disabled={shown === null && region === null} onClick={(event) => {
                // The arrows that move the box, and Enter that takes it, are for the image.
                event.currentTarget.blur();
                if (region !== null) setRegion(null);
                else ask.draw();
              }}>{region !== null ? `Box on ${imageName(stacks, region.instance, region.frame)}` : 'Box'}</button>
            </span>
            <span class="do">
              {(reason !== '' || asking.kinds.includes('describe')) && <button type="button" disabled={!can || (region ?? shown) === null} onClick={ask.describe} title="Describe the image in the chosen pane, or the box on it">Describe <kbd>v</kbd></button>}
              <button type="submit" class="primary" disabled={!can || text.trim() === ''}>Ask <kbd>Enter</kbd></button>
            </span>
          </div>
          {text.length > MAX_TEXT - 200 && <p class="fine">{text.length} of {MAX_TEXT} characters</p>}
          {isDrawing && <p class="fine" role="status">Draw a box on the image, or move it by arrows and size it by Shift and arrows; Enter takes it, Esc leaves it.</p>}
          {asking.problem !== '' && <p class="problem" role="alert">{asking.problem}</p>}
        </form>
        {listed.length > 0 && (
          <ol class="answers" aria-label="Answers">
            {listed.map((question) => (
              <Answer key={question.id} question={question} stacks={stacks} jump={ask.jump} isInserted={ask.isInserted(question)} whyNot={whyNot}
                insert={insert === null ? null : () => insert(question)} forget={() => asking.forget(question.id)}
                again={can && asking.kinds.includes(question.kind) ? () => void askAgain(question) : null} />
            ))}
          </ol>
        )}
      </div>
    </section>
  );
}
