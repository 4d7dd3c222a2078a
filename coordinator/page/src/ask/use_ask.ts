/** The state of asking in the reading view: what is asked about, what is drawn for it, what was inserted. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { Question, Region } from '../api/types.ts';
import { FIRST_BOX, type Hanging } from '../study/use_hanging.ts';
import type { Asking } from './use_questions.ts';

export interface Ask {
  asking: Asking;
  open: boolean;
  setOpen: (open: boolean) => void;
  /** Counts how often the question's text was to get the focus. */
  focus: number;
  /** The image in the chosen pane; nothing where that is of another study. */
  shown: Region | null;
  region: Region | null;
  setRegion: (region: Region | null) => void;
  /** The box that is drawn is to be asked about: it is no finding. */
  isDrawing: boolean;
  draw: () => void;
  /** Takes the box that was drawn. */
  take: () => void;
  /** Opens the panel for typing; about a box that is being drawn where there is one. */
  begin: () => void;
  describe: () => void;
  /** Brings an image that an answer names into view, with the box that was asked about. */
  jump: (instance: string, series: string, frame: number, question: Question) => void;
  /** What is marked on the images as asked about. */
  marked: Region | null;
  /** Whether the impression has the words of an answer. */
  isInserted: (question: Question) => boolean;
  insert: (question: Question) => void;
  /** A text was pasted into the report: where it is an answer's, that is on record. Whether anything is. */
  paste: (text: string) => Promise<boolean>;
}

/** The lines of an answer. */
function linesOf(question: Question): string[] {
  return (question.answer ?? '').split('\n').map((line) => line.trim()).filter((line) => line !== '');
}

function wordsOf(text: string): string {
  return ` ${(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).join(' ')} `;
}

/** Whether a text that was pasted is a part of an answer, or has a line of it. One word is nobody's. */
function isOf(text: string, question: Question): boolean {
  const pasted = wordsOf(text);
  const isPart = (part: string, whole: string) => part.trim().includes(' ') && whole.includes(part);
  return isPart(pasted, wordsOf(question.answer ?? '')) || linesOf(question).some((line) => isPart(wordsOf(line), pasted));
}

export function useAsk(asking: Asking, hanging: Hanging, impression: string[], add: (lines: string[]) => void, say: (text: string) => void): Ask {
  const [open, setOpen] = useState(false);
  const [focus, setFocus] = useState(0);
  const [region, setRegion] = useState<Region | null>(null);
  const [pointed, setPointed] = useState<Region | null>(null);
  const [isForBox, setForBox] = useState(false);
  const { current, drawing, tool } = hanging;
  const frame = current === null || current.prior !== null ? undefined : current.frames[hanging.indexOf(current)];
  const shown = frame === undefined ? null : { instance: frame.instance.uid, frame: frame.number };

  // Who left the box, by whatever way, draws the next for a finding.
  useEffect(() => {
    if (tool !== 'box') setForBox(false);
  }, [tool]);

  const states = useRef<Map<string, string> | null>(null);
  useEffect(() => {
    const before = states.current;
    states.current = new Map(asking.questions.map(({ id, state }) => [id, state]));
    if (before === null) return;
    const ended = asking.questions.find(({ id, state }) => (state === 'answered' || state === 'failed') && ['waiting', 'answering'].includes(before.get(id) ?? ''));
    if (ended !== undefined) say(ended.state === 'answered' ? 'The model answered' : 'The model did not answer');
  }, [asking.questions]);

  const toText = () => {
    setOpen(true);
    setFocus((count) => count + 1);
  };
  const leaveBox = () => {
    hanging.setDrawing(null);
    hanging.setTool('look');
    setForBox(false);
  };
  const place = drawing?.stack.frames[drawing.index];
  const drawn = drawing === null || place === undefined ? null : { instance: place.instance.uid, frame: place.number, box: drawing.box };
  const take = () => {
    if (drawn === null) return;
    setRegion(drawn);
    leaveBox();
    toText();
  };
  return {
    asking,
    open,
    setOpen,
    focus,
    shown,
    region,
    setRegion,
    isDrawing: isForBox && tool === 'box',
    draw: () => {
      if (isForBox && tool === 'box') return leaveBox();
      if (current === null || current.prior !== null) return;
      setForBox(true);
      hanging.setTool('box');
      hanging.setDrawing({ stack: current, index: hanging.indexOf(current), box: FIRST_BOX });
    },
    take,
    begin: () => (drawing === null ? toText() : take()),
    describe: () => {
      setOpen(true);
      // A box that was drawn before counts while it is seen: with the panel open, on the image that is shown.
      const isSeen = open && region !== null && shown !== null && region.instance === shown.instance && region.frame === shown.frame;
      const image = drawn ?? (isSeen ? region : shown);
      if (asking.reason === '' && !asking.kinds.includes('describe')) say('The models here describe no images: ask a question');
      if (image === null || asking.reason !== '' || asking.busy || !asking.kinds.includes('describe')) return;
      if (drawn !== null) {
        setRegion(drawn);
        leaveBox();
      }
      void asking.ask({ kind: 'describe', text: '', image });
    },
    jump: (instance, series, number, question) => {
      const { image } = question;
      const isAsked = image !== null && image.instance === instance && image.frame === number;
      setPointed(isAsked ? image : null);
      hanging.jump({ instance, series, frame: number });
    },
    marked: open ? (region ?? pointed) : null,
    isInserted: (question) => linesOf(question).length > 0 && linesOf(question).every((line) => impression.includes(line)),
    insert: (question) => {
      void asking.take(question.id).then((isTaken) => {
        if (!isTaken) return;
        add(linesOf(question));
        say('Inserted into the impression, and the report says whose words they are. Control Z takes them out.');
      });
    },
    paste: async (text) => (await Promise.all(asking.questions.filter((question) => isOf(text, question)).map(({ id }) => asking.paste(id)))).includes(true),
  };
}
