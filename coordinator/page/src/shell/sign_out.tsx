/** Signing out: what was typed is kept first, and nobody is shown as out before the coordinator says so. */

import { useEffect, useState } from 'preact/hooks';
import { ApiError, call, get, keepSession, words } from '../api/client.ts';
import type { Session } from '../api/types.ts';
import { keepAll } from '../edit/autosave.ts';
import { useKeys } from '../keys.ts';

const KEY = 'prelim.leaving';
const RETRY_MS = 5_000;

/** Whether this person asked to leave, and the coordinator has not said yet that they are out: a page that is loaded again goes on. */
export function wantsOut({ account }: Session): boolean {
  return localStorage.getItem(KEY) === account.id;
}

export function keepWantsOut(who: string | null): void {
  if (who === null) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, who);
}

/** What came of it: out, with how one signs in and what else was said; or not, and why. */
export type Left = { isOut: true; ways: string[]; told: string } | { isOut: false; problem: string };

/** Ends the session of `who`. */
export async function signOut(who: string): Promise<Left> {
  let [isOver, told] = [true, ''];
  try {
    // Where the store does not end the session, it is refused all the same, and that is said.
    told = (await call<{ notice?: string }>('DELETE', '/session')).body.notice ?? '';
  } catch (error) {
    if (!(error instanceof ApiError) || error.status === 0) return { isOut: false, problem: 'The coordinator does not answer.' };
    isOver = error.status === 401;
    if (!isOver) told = words(error);
  }
  try {
    const session = await get<Session>('/session');
    // Somebody else is in in another tab by now.
    if (session.account.id !== who) return { isOut: true, ways: [session.way], told };
    keepSession(session);
    return { isOut: false, problem: told };
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return { isOut: true, ways: (error.body['sign_in'] as string[] | undefined) ?? ['password'], told };
    return isOver ? { isOut: true, ways: ['password'], told } : { isOut: false, problem: told };
  }
}

/** While it is not known that somebody is out: tried until it is. */
export function SigningOut({ problem, again }: { problem: string; again: () => void }) {
  useEffect(() => {
    if (problem === '') return;
    const timer = setTimeout(again, RETRY_MS);
    addEventListener('online', again);
    return () => {
      clearTimeout(timer);
      removeEventListener('online', again);
    };
  }, [problem, again]);
  if (problem === '') return <main class="quiet" aria-busy="true"><p role="status">Signing out</p></main>;
  return (
    <main class="quiet">
      <h1>prelim</h1>
      <p role="alert"><b>You are not signed out yet.</b> {problem}</p>
      <p>It is tried again until you are. Who uses this browser before that may be taken for you: close it, or wait.</p>
      <button class="primary" onClick={again}>Sign out again</button>
    </main>
  );
}

/** Before: keeps what was typed, and asks where that cannot be. */
export function Leaving({ go, stay }: { go: () => void; stay: () => void }) {
  const [problem, setProblem] = useState('');
  const [round, setRound] = useState(0);
  useEffect(() => {
    let gone = false;
    setProblem('');
    void keepAll().then((problem) => {
      if (gone) return;
      const half = document.querySelector('main [data-own]') === null ? '' : 'A form is filled in that is not taken yet.';
      if (problem === '' && half === '') go();
      else setProblem(problem || half);
    });
    return () => {
      gone = true;
    };
  }, [round]);
  useKeys([{ keys: ['Escape'], whileTyping: true, run: stay }]);
  return (
    <section class="leaving" role="alertdialog" aria-label="Sign out">
      {problem === '' ? <p role="status">Keeping what you typed last</p> : <p role="alert"><b>Not signed out: what you typed last is not kept.</b> {problem}</p>}
      <p>
        <button class="primary" onClick={() => setRound(round + 1)} disabled={problem === ''}>Try again</button>{' '}
        <button onClick={stay}>Stay <kbd>Esc</kbd></button>{' '}
        <button onClick={go}>Sign out without it</button>
      </p>
    </section>
  );
}
