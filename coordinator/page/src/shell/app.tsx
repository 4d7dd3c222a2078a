/** The page: who is signed in, which view is shown, what is said everywhere. */

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, get, keepSession, onSessionEnd, words } from '../api/client.ts';
import { pause } from '../api/events.ts';
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
import { keepWantsOut, Leaving, signOut, SigningOut, wantsOut } from './sign_out.tsx';
import { fetchAhead, StudyView } from './study_view.tsx';
import { applyTheme, toggleTheme } from './theme.ts';
import { Top } from './top.tsx';

applyTheme();

type Known =
  | { state: 'asking' }
  | { state: 'out'; ways: string[]; told?: string }
  | { state: 'in'; session: Session }
  /** Who asked to leave is let in by nothing but signing in. */
  | { state: 'leaving'; who: string; problem: string }
  | { state: 'broken'; problem: string };

export function App() {
  const [known, setKnown] = useState<Known>({ state: 'asking' });
  /** The session ended while a view was open: it stays below, with what was typed. */
  const [expired, setExpired] = useState(false);
  /** What the tab was called when the session ended. */
  const title = useRef<string | null>(null);
  const [sheet, setSheet] = useState(false);
  /** Who is signed in in this browser by now, where that is not whose view this is. */
  const [other, setOther] = useState('');
  /** Somebody signs out, and what they typed is being kept. */
  const [keeping, setKeeping] = useState(false);
  const route = useRoute();

  const enter = useCallback((session: Session) => {
    keepSession(session);
    setOther('');
    setKnown({ state: 'in', session });
    setExpired(false);
    if (title.current !== null) document.title = title.current;
    title.current = null;
    dispatchEvent(new Event('prelim:signed-in'));
    fetchAhead();
  }, []);

  const leave = useCallback(async (who: string) => {
    keepWantsOut(who);
    setKeeping(false);
    setKnown((was) => (was.state === 'leaving' ? was : { state: 'leaving', who, problem: '' }));
    title.current = null;
    document.title = 'prelim';
    const left = await signOut(who);
    if (!left.isOut) return setKnown({ state: 'leaving', who, problem: left.problem });
    keepWantsOut(null);
    keepSession(null);
    forgetHalfTyped();
    tellElsewhere('signed-out');
    setKnown({ state: 'out', ways: left.ways, told: left.told });
    go('/sign-in', true);
  }, []);

  const ask = useCallback(async () => {
    try {
      const session = await get<Session>('/session');
      if (wantsOut(session)) {
        keepSession(session);
        return await leave(session.account.id);
      }
      enter(session);
      // Who comes back from the identity provider enters here.
      tellElsewhere('signed-in');
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) setKnown({ state: 'out', ways: (error.body['sign_in'] as string[] | undefined) ?? ['password'] });
      else setKnown({ state: 'broken', problem: words(error) });
    }
  }, [enter, leave]);

  useEffect(() => void ask(), [ask]);

  // Another tab of this browser has signed in, or out: this one goes on, if it is the same person, and is covered if it is not.
  const me = known.state === 'in' ? known.session.account.id : '';
  useEffect(() => onElsewhere(() => {
    if (me === '') return;
    get<Session>('/session').then(
      (session) => {
        if (session.account.id === me) return expired ? enter(session) : keepSession(session);
        setOther(personName(session.account.name || session.account.id));
        setExpired(true);
      },
      (error: unknown) => {
        if (error instanceof ApiError && error.status === 401) cover();
      },
    );
  }), [me, expired, enter]);
  const cover = () => {
    setExpired(true);
    setKeeping(false);
    pause();
    // The tab names the patient no longer.
    title.current ??= document.title;
    document.title = 'prelim';
  };
  useEffect(() => onSessionEnd(() => {
    if (me !== '') cover();
  }), [me]);
  useHold(expired ? 'all' : null);
  const toSignIn = () => document.querySelector<HTMLElement>('.expired input[type=password], .expired .sign-in a')?.focus();

  const again = useCallback(() => { if (known.state === 'leaving') void leave(known.who); }, [known, leave]);

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
  if (known.state === 'leaving') return <SigningOut problem={known.problem} again={again} />;
  if (known.state === 'out') {
    return (
      <SignIn
        ways={known.ways}
        told={route.query.get('failed') === 'oidc' ? 'The site\'s identity provider let nobody in.' : (known.told ?? '')}
        entered={(session) => {
          keepWantsOut(null);
          if (route.name === 'sign-in') go('/worklist', true);
          enter(session);
          tellElsewhere('signed-in');
        }}
      />
    );
  }
  const { session } = known;
  return (
    <div class={`frame view-${route.name} ${expired ? 'is-expired' : ''}`}>
      <Top session={session} route={route} leave={() => setKeeping(true)} sheet={() => setSheet(!sheet)} />
      {keeping && !expired && <Leaving go={() => void leave(me)} stay={() => setKeeping(false)} />}
      {expired && (
        <section class="expired" aria-label="Sign in again">
          <p class="out" role="alert"><b>Signed out: sign in to go on; what you typed is kept here.</b> <button onClick={toSignIn}>Sign in <kbd>F2</kbd></button></p>
          <SignIn ways={[session.way]} again={session.account.id} entered={(next) => { enter(next); tellElsewhere('signed-in'); }} told={other === '' ? '' : `${other} is signed in in this browser by now. Sign in as ${personName(session.account.name || session.account.id)} to go on with this view.`} />
        </section>
      )}
      {route.name === 'study' ? (
        <StudyView key={route.uid} uid={route.uid} session={session} />
      ) : route.name === 'agreement' ? (
        <Agreement query={route.query} session={session} />
      ) : (
        <Worklist query={route.query} session={session} />
      )}
      {sheet && <KeySheet close={() => setSheet(false)} />}
    </div>
  );
}
