/** What was asked of a study, as its answers come. */

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, call, get, requestId, words } from '../api/client.ts';
import type { Question, QuestionKind, Questions, Region } from '../api/types.ts';

export interface Asked {
  kind: QuestionKind;
  text: string;
  image?: Region;
}

export interface Asking {
  /** The caller's own, newest first. */
  questions: Question[];
  /** Why nobody answers; empty where somebody does, nothing until that is known. */
  reason: string | null;
  /** What can be asked: models need not do all of it. */
  kinds: QuestionKind[];
  /** What went wrong with asking or forgetting. */
  problem: string;
  /** One is on its way to the coordinator. */
  busy: boolean;
  /** Asks; whether it was taken. */
  ask: (asked: Asked) => Promise<boolean>;
  /** Has on record that the words of an answer go into the report; whether it has. */
  take: (id: string) => Promise<boolean>;
  /** Has on record that words of an answer were pasted into the report; whether it has. */
  paste: (id: string) => Promise<boolean>;
  /** Cancels what waits, forgets what was answered. */
  forget: (id: string) => void;
  /** Looks up how the study's report stands now. Throws where that cannot be known. */
  standing: () => Promise<Questions['report']>;
  /** What an event told. */
  hear: (question: Question) => void;
  reload: () => void;
  /** Looks again whether somebody answers. */
  look: () => void;
}

/** Tells other tabs of this browser what was forgotten here. */
const channel = new BroadcastChannel('prelim.forgotten');

const NOBODY = 'No model here answers questions.';

/** Whether somebody answers, and what. */
type Answering = Pick<Questions, 'answers' | 'kinds' | 'reason'>;

/** How far a question has come: what comes late changes nothing back. */
const RANK = { waiting: 0, answering: 1, answered: 2, failed: 2 } as const;

function placed(list: Question[], question: Question): Question[] {
  const at = list.findIndex(({ id }) => id === question.id);
  if (at < 0) return [question, ...list].toSorted((a, b) => b.asked_at_ms - a.asked_at_ms);
  // A job whose worker went away waits again: only what has ended stays.
  if (RANK[question.state] < 2 && RANK[list[at]!.state] === 2) return list;
  return list.map((each, index) => (index === at ? question : each));
}

export function useQuestions(uid: string): Asking {
  const [questions, setQuestions] = useState<Question[]>([]);
  const [reason, setReason] = useState<string | null>(null);
  const [kinds, setKinds] = useState<QuestionKind[]>([]);
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  /** What was forgotten here: an event that was on its way does not bring it back. */
  const forgotten = useRef(new Set<string>());
  /** What was heard of since a list was asked for is newer than that list. */
  const heard = useRef<Question[]>([]);
  /** The last one that was not answered for: sent again it is the same one. */
  const attempt = useRef({ body: '', id: '' });

  const tell = ({ answers, kinds, reason }: Answering) => {
    setReason(answers ? '' : words(reason ?? NOBODY));
    // The same list is no change: it is looked at again and again.
    setKinds((was) => (was.join() === kinds.join() ? was : kinds));
  };

  const reload = useCallback(() => {
    if (uid === '') return;
    heard.current = [];
    get<Questions>(`/studies/${uid}/questions`).then(
      (told) => {
        setQuestions(heard.current.reduce(placed, told.questions).filter(({ id }) => !forgotten.current.has(id)));
        tell(told);
        setProblem('');
      },
      (error: unknown) => setReason(words(error)),
    );
  }, [uid]);

  const look = useCallback(() => {
    if (uid === '') return;
    get<Answering>(`/studies/${uid}/answering`).then(tell, (error: unknown) => setReason(words(error)));
  }, [uid]);

  useEffect(() => {
    reload();
    addEventListener('prelim:signed-in', reload);
    addEventListener('online', reload);
    return () => {
      removeEventListener('prelim:signed-in', reload);
      removeEventListener('online', reload);
    };
  }, [reload]);

  useEffect(() => {
    const gone = ({ data }: MessageEvent<string>) => {
      forgotten.current.add(data);
      setQuestions((all) => all.filter((each) => each.id !== data));
    };
    channel.addEventListener('message', gone);
    return () => channel.removeEventListener('message', gone);
  }, []);

  const hear = useCallback((question: Question) => {
    heard.current.push(question);
    if (!forgotten.current.has(question.id)) setQuestions((was) => placed(was, question));
  }, []);

  const ask = async (asked: Asked): Promise<boolean> => {
    const body = JSON.stringify(asked);
    if (attempt.current.body !== body) attempt.current = { body, id: requestId() };
    setBusy(true);
    setProblem('');
    try {
      hear((await call<Question>('POST', `/studies/${uid}/questions`, { ...asked, request_id: attempt.current.id })).body);
      attempt.current = { body: '', id: '' };
      return true;
    } catch (error) {
      // An answer that never came may have been a yes: the same id is sent again.
      if (error instanceof ApiError && error.status >= 400) attempt.current = { body: '', id: '' };
      setProblem(words(error));
      return false;
    } finally {
      setBusy(false);
    }
  };

  const take = async (id: string): Promise<boolean> => {
    setProblem('');
    try {
      await call('PUT', `/studies/${uid}/questions/${id}/taken`);
      return true;
    } catch (error) {
      setProblem(`The words are not inserted, for the report could not say whose they are: ${words(error)}`);
      return false;
    }
  };

  const paste = async (id: string): Promise<boolean> => {
    try {
      await call('PUT', `/studies/${uid}/questions/${id}/pasted`);
      return true;
    } catch (error) {
      setProblem(`That these words are an answer's is not on record: ${words(error)}`);
      return false;
    }
  };

  const forget = (id: string) => {
    const was = questions.find((each) => each.id === id);
    forgotten.current.add(id);
    setQuestions((all) => all.filter((each) => each.id !== id));
    call('DELETE', `/studies/${uid}/questions/${id}`).then(() => channel.postMessage(id), (error: unknown) => {
      // What is gone already is forgotten.
      if (error instanceof ApiError && error.status === 404) return channel.postMessage(id);
      forgotten.current.delete(id);
      if (was !== undefined) hear(was);
      setProblem(words(error));
    });
  };

  const standing = async () => (await get<Questions>(`/studies/${uid}/questions`)).report;

  return { questions, reason, kinds, problem, busy, ask, take, paste, forget, standing, hear, reload, look };
}
