/** Frames and stacks of a study, as the viewer takes them. Pure. */

import type { Instance, Series, Study } from '../api/types.ts';

/** One frame of one image. */
export interface Frame {
  /** Its address for Cornerstone, and the path of its pixels. */
  id: string;
  series: string;
  instance: Instance;
  /** From 1. */
  number: number;
}

/** What one pane shows: the slices of a CT, or one film. */
export interface Stack {
  key: string;
  study: string;
  kind: 'xray' | 'ct' | 'other';
  label: string;
  description: string;
  /** The date of the study. */
  date: string;
  /** Where the stack is of another study of the patient: whether that was made earlier or later. */
  prior: 'earlier' | 'later' | null;
  /** The patient's name in that study, where it is another than in this one. */
  of: string | null;
  frames: Frame[];
}

export const SCHEME = 'prelim';

function framesOf(study: string, series: Series, instance: Instance): Frame[] {
  return Array.from({ length: Math.max(1, instance.frames) }, (_, index) => ({
    id: `${SCHEME}:/api/studies/${study}/pixels/${instance.uid}/${index + 1}`,
    series: series.uid,
    instance,
    number: index + 1,
  }));
}

/** Frontal views come first, then the lateral, then what is not named. */
function viewRank(instance: Instance): number {
  const view = (instance.view_position ?? '').toUpperCase();
  if (['PA', 'AP'].includes(view)) return 0;
  if (['LL', 'RL', 'LAT', 'LATERAL'].includes(view)) return 2;
  return view === '' ? 3 : 1;
}

/** The stacks of a study in the order in which they are hung: films by view; of CT the series that findings lie on first, then
 *  the longest. `of` is the patient's name where it is another than that of the study that is read. */
export function stacks(study: Study, prior: Stack['prior'], of: string | null = null): Stack[] {
  const seen = new Set(study.report?.report.findings.flatMap((finding) => finding.evidence.map((place) => place.series)) ?? []);
  const { uid, study_date: date } = study.row;
  const films: { rank: number; stack: Stack }[] = [];
  const volumes: Stack[] = [];
  for (const series of study.series) {
    const shown = series.instances.filter((instance) => instance.rows > 0 && instance.columns > 0);
    if (shown.length === 0) continue;
    if (series.kind === 'xray') {
      for (const instance of shown) {
        // "U" is an unpaired part, and says nothing to people.
        const side = ['L', 'R', 'B'].includes(instance.laterality ?? '') ? instance.laterality : null;
        const view = [instance.view_position, side].filter((word) => word).join(' ');
        const label = view || series.modality;
        films.push({
          rank: viewRank(instance),
          stack: { key: instance.uid, study: uid, kind: 'xray', label, description: series.description, date, prior, of, frames: framesOf(uid, series, instance) },
        });
      }
    } else {
      const frames = shown.flatMap((instance) => framesOf(uid, series, instance));
      volumes.push({ key: series.uid, study: uid, kind: series.kind, label: `${series.modality} ${series.number ?? ''}`.trim(), description: series.description, date, prior, of, frames });
    }
  }
  volumes.sort((a, b) => Number(seen.has(b.key)) - Number(seen.has(a.key)) || b.frames.length - a.frames.length);
  films.sort((a, b) => a.rank - b.rank);
  return [...films.map((film) => film.stack), ...volumes];
}

/** Places of the stacks that are shown at first: all films, up to four; of volumes one. */
export function hung(all: Stack[]): number[] {
  const films = all.flatMap((stack, index) => (stack.kind === 'xray' ? [index] : [])).slice(0, 4);
  return films.length > 0 ? films : all.length > 0 ? [0] : [];
}

/** What a frame is called in reports, beside its series: "image 21", "image 2, frame 5"; empty where its header has no number. */
export function imageName({ instance, number }: Frame): string {
  return [...(instance.number === null ? [] : [`image ${instance.number}`]), ...(instance.frames > 1 ? [`frame ${number}`] : [])].join(', ');
}

/** Where a frame lies: which stack, which place in it. */
export function find(all: Stack[], instance: string, frame: number): { stack: number; index: number } | null {
  for (const [stack, each] of all.entries()) {
    const index = each.frames.findIndex((one) => one.instance.uid === instance && one.number === frame);
    if (index >= 0) return { stack, index };
  }
  return null;
}

export interface Edges {
  left: string;
  right: string;
  top: string;
  bottom: string;
}

/** The letters at the edges of an image; nothing where its header does not say how it lies. */
export function letters({ orientation, patient_orientation }: Instance): Edges | null {
  return edges(orientation) ?? named(patient_orientation);
}

const OPPOSITES: Record<string, string> = { L: 'R', R: 'L', A: 'P', P: 'A', H: 'F', F: 'H' };

/** The letters from Patient Orientation (0020,0020), whose first value is the direction of rows to the right edge, the second
 *  that of columns to the bottom. */
function named(orientation: [string, string] | null): Edges | null {
  if (!Array.isArray(orientation)) return null;
  const [right, bottom] = orientation.map((each) => String(each).trim().toUpperCase());
  if (right === undefined || bottom === undefined || ![right, bottom].every((each) => /^[LRAPHF]{1,3}$/.test(each))) return null;
  const opposite = (direction: string) => [...direction].map((letter) => OPPOSITES[letter]).join('');
  return { left: opposite(right), right, top: opposite(bottom), bottom };
}

/** The letters from Image Orientation (Patient). */
function edges(orientation: number[] | null): Edges | null {
  if (orientation === null || orientation.length !== 6 || orientation.some((value) => !Number.isFinite(value))) return null;
  const letter = ([x = 0, y = 0, z = 0]: number[]): string => {
    const size = [Math.abs(x), Math.abs(y), Math.abs(z)];
    const largest = size.indexOf(Math.max(...size));
    if (size[largest]! < 0.5) return '';
    return largest === 0 ? (x > 0 ? 'L' : 'R') : largest === 1 ? (y > 0 ? 'P' : 'A') : z > 0 ? 'H' : 'F';
  };
  const row = orientation.slice(0, 3);
  const column = orientation.slice(3);
  const minus = (vector: number[]) => vector.map((value) => -value);
  const found = { left: letter(minus(row)), right: letter(row), top: letter(minus(column)), bottom: letter(column) };
  return found.left === '' || found.top === '' ? null : found;
}
