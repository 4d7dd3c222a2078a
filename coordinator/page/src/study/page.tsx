/** A study: loads it, and keeps it up to date while it is read. */

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, call, get, words } from '../api/client.ts';
import { listen } from '../api/events.ts';
import type { Reader, Report, Session, Study, Vocabulary } from '../api/types.ts';
import { useQuestions } from '../ask/use_questions.ts';
import { isBegun } from '../edit/model.ts';
import { toWorklist } from '../route.ts';
import { useKeys } from '../keys.ts';
import { personName } from '../words.ts';
import { keepLast } from '../worklist/worklist.tsx';
import { Reading, type Removal } from './reading.tsx';

/** The server forgets a reader after 60 s. */
const PRESENCE_MS = 25_000;

export function StudyPage({ uid, session }: { uid: string; session: Session }) {
  const [study, setStudy] = useState<Study | null>(null);
  const [vocabulary, setVocabulary] = useState<Vocabulary | null>(null);
  const [problem, setProblem] = useState('');
  const [readers, setReaders] = useState<Reader[]>([]);
  /** A version that came while this one was read. */
  const [newer, setNewer] = useState<number | null>(null);
  const [newerSigned, setNewerSigned] = useState<number | null>(null);
  /** An older version that is looked at. */
  const [older, setOlder] = useState<Report | null>(null);
  /** The study is being removed, or is gone by now. */
  const [removal, setRemoval] = useState<Removal>('none');
  /** The draft that was rejected, while it is reviewed after all. */
  const [revived, setRevived] = useState<Report | null>(null);
  const questions = useQuestions(uid);
  // A study on its way out is not asked about: what is there already stays to be read.
  const asking = removal === 'none' ? questions : { ...questions, reason: removal === 'gone' ? 'This study was removed.' : 'This study is being removed.' };
  const version = useRef(0);

  const load = useCallback(async () => {
    if (uid === '') {
      setProblem('There is no such study: the address names none.');
      return null;
    }
    try {
      const [loaded, words] = await Promise.all([get<Study>(`/studies/${uid}`), get<Vocabulary>('/vocabulary')]);
      // Edits that are kept of a rejected draft: its review after all was begun.
      const { report: stands, working_copy: kept } = loaded;
      const isBegunAgain = stands?.status === 'rejected' && kept?.version === stands.report.version - 1 && isBegun(kept);
      setRevived(isBegunAgain ? await get<Report>(`/studies/${uid}/reports/${kept.version}`) : null);
      version.current = loaded.row.version;
      setStudy(loaded);
      if (loaded.row.state === 'removing') setRemoval('removing');
      setVocabulary(words);
      setReaders(loaded.readers);
      setNewer(null);
      setNewerSigned(null);
      setProblem('');
      document.title = `${personName(loaded.row.patient.name)} · prelim`;
      return loaded;
    } catch (error) {
      setProblem(error instanceof ApiError && error.status === 404 ? 'There is no such study here: it was removed, or belongs to another tenant.' : words(error));
      return null;
    }
  }, [uid]);

  useEffect(() => void load(), [load]);
  useEffect(() => keepLast(uid), [uid]);

  useEffect(() => {
    if (uid === '') return;
    const here = () => void call('PUT', `/studies/${uid}/reading`).catch(() => undefined);
    here();
    const timer = setInterval(here, PRESENCE_MS);
    const stop = listen({
      readers: (what) => what.uid === uid && setReaders(what.readers),
      removed: (what) => what.uid === uid && setRemoval('gone'),
      question: (what) => what.uid === uid && asking.hear(what.question),
      // What was missed while it was away is loaded.
      live: (live) => { if (live) asking.reload(); },
      reload: asking.reload,
      study: (row) => {
        if (row.uid !== uid) return;
        setReaders(row.readers);
        if (row.state === 'removing') setRemoval('removing');
        if (row.version > version.current) {
          // A study without a report yet just opens when it has one; work in hand is not pulled away.
          if (version.current === 0) void load();
          else {
            setNewer(row.version);
            if (row.standing === 'signed' || row.standing === 'amended') setNewerSigned(row.version);
          }
        }
      },
    });
    const again = () => {
      here();
      if (version.current === 0) void load();
    };
    addEventListener('prelim:signed-in', again);
    return () => {
      clearInterval(timer);
      stop();
      removeEventListener('prelim:signed-in', again);
      void call('DELETE', `/studies/${uid}/reading`).catch(() => undefined);
    };
  }, [uid, load, asking.hear, asking.reload]);

  const revive = async () => {
    if (study?.report?.status !== 'rejected') return;
    try {
      setRevived(await get<Report>(`/studies/${uid}/reports/${study.report.report.version - 1}`));
      setOlder(null);
    } catch (error) {
      setProblem(words(error));
    }
  };

  const show = async (wanted: number) => {
    if (study === null) return;
    if (wanted === (revived ?? study.report)?.report.version) return setOlder(null);
    try {
      setOlder(await get<Report>(`/studies/${uid}/reports/${wanted}`));
    } catch (error) {
      setProblem(words(error));
    }
  };

  useKeys([{ keys: ['u'], words: 'Back to the worklist', group: 'Study', run: toWorklist }]);

  if (problem !== '' && study === null) {
    return (
      <main class="quiet">
        <p role="alert">{problem}</p>
        <p><button class="primary" onClick={() => void load()}>Try again</button> <button onClick={toWorklist}>Worklist <kbd>u</kbd></button></p>
      </main>
    );
  }
  if (study === null || vocabulary === null) return <main class="quiet" aria-busy="true" />;
  return (
    <Reading key={revived === null ? 'stands' : 'revived'} study={revived === null ? study : { ...study, report: revived }} rejected={revived === null ? null : study.report} revive={study.report?.status === 'rejected' && revived === null ? () => void revive() : null} abandon={() => { void load(); }} vocabulary={vocabulary} session={session} asking={asking} readers={readers.filter((reader) => reader.id !== session.account.id)} newer={newer} newerSigned={newerSigned} older={older} removal={removal} problem={problem}
      reload={load} show={(wanted) => void show(wanted)} />
  );
}
