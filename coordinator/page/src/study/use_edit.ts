/** The reader's work on a version: with undo, kept on the server, and as the report that would come of it. */

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { ApiError, call, words } from '../api/client.ts';
import type { Report, ReportBody, Study, WorkingCopy } from '../api/types.ts';
import { Autosave, type Saving } from '../edit/autosave.ts';
import { begin, hasImpression, isBegun, redo, step, toPreview, type, undecided, undo, withImpression, type Field, type History } from '../edit/model.ts';
import type { Made } from './items.ts';

export interface Preview {
  report: ReportBody | null;
  /** The edits that it is of. */
  of: WorkingCopy | null;
  /** What it has of each finding, in the order of decisions and additions; nothing where there is none, or none yet. */
  made: Made[] | null;
  warnings: string[];
  /** Where its words say another thing than its findings: it is signed by who has seen that. */
  contradictions: string[];
  problem: string;
  /** Its impression is in the reader's own words. */
  isOwn: boolean;
  /** The preview is of an edit before the newest. */
  isOld: boolean;
  /** Another version is newer: there is no preview of this one any more. */
  isLate: boolean;
}

export interface Editing {
  copy: WorkingCopy;
  canUndo: boolean;
  canRedo: boolean;
  /** `field` is where it is typed; nothing for what is done at once. */
  change: (make: (copy: WorkingCopy) => WorkingCopy, field?: Field) => void;
  undo: () => void;
  redo: () => void;
  /** Takes a whole copy: of another version, or one from elsewhere. It can be undone. */
  replace: (copy: WorkingCopy, isNew?: boolean) => void;
  /** Goes on with copies of another version, the last of which counts: what was done to the version before cannot be undone here. */
  rebase: (copies: WorkingCopy[]) => void;
  /** Saves this page's copy over another one that was seen. */
  keepMine: () => void;
  /** Whether a copy is the newest here still. */
  isNow: (copy: WorkingCopy) => boolean;
  /** Gives up what was edited, here and on the server. */
  discard: () => Promise<void>;
  saving: Saving;
  preview: Preview;
  /** A kept copy of an older version than the one that is shown. */
  stale: WorkingCopy | null;
  settle: () => void;
  flush: () => Promise<void>;
  /** Looks again at the report that comes of the edits: what is on record of their words has changed. */
  look: () => void;
}

const PREVIEW_MS = 250;

/** `may` says that the reader may review: for others nothing is previewed, which the server would refuse, and put on record. */
export function useEdit(study: Study, may: boolean): Editing {
  const { uid } = study.row;
  const version = study.report?.report.version ?? study.row.version;
  const count = study.report?.report.findings.length ?? 0;
  const [history, setHistory] = useState<History>(() => begin(undecided(version, count)));
  const [saving, setSaving] = useState<Saving>({ state: 'clean' });
  const [stale, setStale] = useState<WorkingCopy | null>(null);
  const [preview, setPreview] = useState<Preview>({ report: study.report?.report ?? null, of: null, made: null, warnings: [], contradictions: [], problem: '', isOwn: false, isOld: false, isLate: false });
  /** Previews are asked for again after a sign-in, when the network is back, and when other things are known of the words. */
  const [round, setRound] = useState(0);
  const save = useRef<Autosave | null>(null);
  const newest = useRef(history.now);
  newest.current = history.now;

  // Before the next key can come: what it changes is to be kept.
  useLayoutEffect(() => {
    const path = `/studies/${uid}/working-copy`;
    const left = Autosave.resume(path, setSaving);
    const kept = left === null ? study.working_copy : { ...left.copy, etag: '' };
    const autosave = left?.autosave ?? new Autosave(path, kept?.etag ?? null, setSaving);
    save.current = autosave;
    if (kept !== null) {
      const { etag: _, ...said } = kept;
      const copy = withImpression(said, said.impression);
      if (kept.version === version && kept.decisions.length === count) setHistory(begin(copy));
      else if (isBegun(copy)) setStale(copy);
    }
    const again = () => {
      autosave.retry();
      setRound((count) => count + 1);
    };
    // Who closes the page with something unsaved, or with a form that is half filled in, is asked.
    const leaving = (event: BeforeUnloadEvent) => {
      if (autosave.isPending || document.querySelector('main [data-own]') !== null) event.preventDefault();
    };
    addEventListener('online', again);
    addEventListener('prelim:signed-in', again);
    addEventListener('beforeunload', leaving);
    return () => {
      removeEventListener('online', again);
      removeEventListener('prelim:signed-in', again);
      removeEventListener('beforeunload', leaving);
      void autosave.leave();
    };
  }, [uid]);

  const take = useCallback((make: (history: History) => History) => {
    setHistory((was) => {
      const next = make(was);
      newest.current = next.now;
      if (next.now !== was.now) save.current?.save(next.now);
      return next;
    });
  }, []);

  const copy = history.now;
  useEffect(() => {
    // Of a rejected draft nothing is to come.
    if (!may || study.report === null || study.report.status === 'rejected' || copy.decisions.length !== count || copy.version !== version) return;
    let gone = false;
    setPreview((was) => ({ ...was, isOld: true, isLate: false }));
    const timer = window.setTimeout(() => {
      call<{ report: Report; warnings?: string[]; contradictions?: string[] }>('POST', `/studies/${uid}/preview`, toPreview(copy)).then(
        ({ body }) => !gone && setPreview({ report: body.report.report, of: copy, made: madeOf(body.report), warnings: body.warnings ?? [], contradictions: body.contradictions ?? [], problem: '', isOwn: hasImpression(copy), isOld: false, isLate: false }),
        (error: unknown) => {
          // What cannot be signed is told in the server's words; the last good text stays.
          // That another version is newer is told where it is signed, with both sides.
          const isLate = error instanceof ApiError && error.status === 409;
          if (!gone) setPreview((was) => ({ ...was, problem: isLate ? '' : words(error), isOld: !isLate, isLate }));
        },
      );
    }, PREVIEW_MS);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [copy, uid, version, round, may]);

  return {
    copy,
    canUndo: history.past.length > 0,
    canRedo: history.future.length > 0,
    change: (make, field) => take((was) => (field === undefined ? step(was, make(was.now)) : type(was, make(was.now), field, Date.now()))),
    undo: () => take(undo),
    redo: () => take(redo),
    replace: (next, isNew = false) => {
      // After a signature there is nothing to keep: the server took the copy away.
      if (isNew) {
        save.current?.forget();
        setSaving({ state: 'clean' });
        setHistory(begin(next));
      } else {
        take((was) => step(was, next));
      }
    },
    rebase: (copies) => {
      const [first, ...rest] = copies;
      if (first === undefined) return;
      const history = rest.reduce((was, next) => step(was, next), begin(first));
      setHistory(history);
      save.current?.save(history.now);
    },
    discard: async () => {
      await save.current?.discard();
      setStale(null);
      setSaving({ state: 'clean' });
      setHistory(begin(undecided(version, count)));
    },
    isNow: (other) => other === newest.current,
    keepMine: () => save.current?.save(newest.current),
    saving,
    preview,
    stale,
    settle: () => {
      setStale(null);
      setSaving({ state: 'clean' });
    },
    flush: async () => save.current?.flush(),
    look: () => setRound((count) => count + 1),
  };
}

/** What a report that was reviewed has of each finding that was decided on. */
function madeOf({ report, review }: Report): Made[] | null {
  return review?.assessments?.map(({ finding }) => ({ place: finding ?? null, sentence: finding === undefined ? null : (report.findings[finding]?.sentence ?? null) })) ?? null;
}
