/** The page: who is signed in, which view is shown, what is said everywhere. */

import { lazy, Suspense } from 'preact/compat';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, call, get, keepSession, onSessionEnd, words } from '../api/client.ts';
import type { Session } from '../api/types.ts';
import '../activity.ts';
import { useHold, useKeys } from '../keys.ts';
import { go, toWorklist, useRoute } from '../route.ts';
import { forgetHalfTyped } from '../ask/half_typed.ts';
import { Agreement } from '../agreement/agreement.tsx';
import { Worklist } from '../worklist/worklist.tsx';
import { personName } from '../words.ts';
import { onElsewhere, tellElsewhere } from './elsewhere.ts';
import { KeySheet } from './key_sheet.tsx';
import { SignIn } from './sign_in.tsx';
import { applyTheme, toggleTheme } from './theme.ts';
import { Top } from './top.tsx';

applyTheme();

// The viewer is most of the page's weight: the worklist does not wait for it, and it is there when a study is opened.
const viewer = () => import('../study/page.tsx').then(({ StudyPage }) => ({ default: StudyPage }));
const StudyPage = lazy(viewer);

type Known = { state: 'asking' } | { state: 'out'; ways: string[] } | { state: 'in'; session: Session } | { state: 'broken'; problem: string };

export function App() {
  const [known, setKnown] = useState<Known>({ state: 'asking' });
  /** The session ended while a view was open: it stays below, with what was typed. */
  const [expired, setExpired] = useState(false);
  /** What the tab was called when the session ended. */
  const title = useRef<string | null>(null);
  const [sheet, setSheet] = useState(false);
  /** Who is signed in in this browser by now, where that is not whose view this is. */
  const [other, setOther] = useState('');
  const route = useRoute();

  const enter = useCallback((session: Session) => {
    keepSession(session);
    setOther('');
    setKnown({ state: 'in', session });
    setExpired(false);
    if (title.current !== null) document.title = title.current;
    title.current = null;
    dispatchEvent(new Event('prelim:signed-in'));
    void viewer();
  }, []);

  const ask = useCallback(async () => {
    try {
      enter(await get<Session>('/session'));
      // Who comes back from the identity provider enters here.
      tellElsewhere();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) setKnown({ state: 'out', ways: (error.body['sign_in'] as string[] | undefined) ?? ['password'] });
      else setKnown({ state: 'broken', problem: words(error) });
    }
  }, [enter]);

  useEffect(() => void ask(), [ask]);

  // Another tab of this browser has signed in: this one goes on, if it is the same person, and is covered if it is not.
  const me = known.state === 'in' ? known.session.account.id : '';
  useEffect(() => onElsewhere(() => {
    if (me === '') return;
    get<Session>('/session').then(
      (session) => {
        if (session.account.id === me) return expired ? enter(session) : keepSession(session);
        setOther(personName(session.account.name || session.account.id));
        setExpired(true);
      },
      // Nobody is: who does something here is told so.
      () => undefined,
    );
  }), [me, expired, enter]);
  useEffect(() => onSessionEnd(() => {
    setExpired(true);
    // The tab names the patient no longer.
    title.current ??= document.title;
    document.title = 'prelim';
  }), []);
  useHold(expired ? 'all' : null);
  const toSignIn = () => document.querySelector<HTMLElement>('.expired input[type=password], .expired .sign-in a')?.focus();

  const leave = async () => {
    await call('DELETE', '/session').catch(() => undefined);
    keepSession(null);
    forgetHalfTyped();
    setKnown({ state: 'out', ways: ['password'] });
    go('/sign-in', true);
    await ask();
  };

  useKeys([
    { keys: ['F2'], ...(expired ? { words: 'Sign in again' } : {}), whileTyping: true, run: () => { if (expired) toSignIn(); } },
    { keys: ['?'], words: 'Show or hide this sheet', run: () => setSheet(!sheet) },
    { keys: ['T'], words: 'Dark or light', run: toggleTheme },
    { keys: ['W'], words: 'Worklist', run: toWorklist },
    { keys: ['G'], words: 'Agreement', run: () => go('/agreement') },
  ]);

  if (known.state === 'asking') return <main class="quiet" aria-busy="true" />;
  if (known.state === 'broken') {
    return (
      <main class="quiet">
        <h1>prelim</h1>
        <p role="alert">{known.problem}</p>
        <button class="primary" onClick={() => void ask()}>Try again</button>
      </main>
    );
  }
  if (known.state === 'out') {
    return (
      <SignIn
        ways={known.ways}
        told={route.query.get('failed') === 'oidc' ? 'The site\'s identity provider let nobody in.' : ''}
        entered={(session) => {
          if (route.name === 'sign-in') go('/worklist', true);
          enter(session);
          tellElsewhere();
        }}
      />
    );
  }
  const { session } = known;
  return (
    <div class={`frame view-${route.name} ${expired ? 'is-expired' : ''}`}>
      <Top session={session} route={route} leave={() => void leave()} sheet={() => setSheet(!sheet)} />
      {expired && (
        <section class="expired" aria-label="Sign in again">
          <p class="out" role="alert"><b>Signed out: sign in to go on; what you typed is kept here.</b> <button onClick={toSignIn}>Sign in <kbd>F2</kbd></button></p>
          <SignIn ways={[session.way]} again={session.account.id} entered={(next) => { enter(next); tellElsewhere(); }} told={other === '' ? '' : `${other} is signed in in this browser by now. Sign in as ${personName(session.account.name || session.account.id)} to go on with this view.`} />
        </section>
      )}
      {route.name === 'study' ? (
        <Suspense fallback={<main class="quiet" aria-busy="true" />}>
          <StudyPage key={route.uid} uid={route.uid} session={session} />
        </Suspense>
      ) : route.name === 'agreement' ? (
        <Agreement query={route.query} session={session} />
      ) : (
        <Worklist query={route.query} session={session} />
      )}
      {sheet && <KeySheet close={() => setSheet(false)} />}
    </div>
  );
}
