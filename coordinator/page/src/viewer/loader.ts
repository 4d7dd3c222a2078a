/** Frames from the coordinator, decoded there, as images of Cornerstone's. */

import { imageLoader, metaData, utilities, Enums, type Types } from '@cornerstonejs/core';
import { ApiError } from '../api/client.ts';
import type { FrameFacts } from '../api/types.ts';
import { SCHEME, type Frame } from './frames.ts';

const frames = new Map<string, Frame>();
const facts = new Map<string, FrameFacts>();

/** What is known of a frame's values, once it was loaded. */
export function factsOf(id: string): FrameFacts | undefined {
  return facts.get(id);
}

/** Makes frames known by their addresses. */
export function announce(all: Iterable<Frame>): void {
  for (const frame of all) frames.set(frame.id, frame);
}

/** Between rows and columns in mm; squares where nothing sane is known. Zero would be a black film, without an error. */
export function spacingOf(frame: Frame): [number, number] {
  const [row, column] = frame.instance.spacing ?? [];
  const sane = (mm: number | undefined): mm is number => mm !== undefined && Number.isFinite(mm) && mm > 1e-3 && mm < 100;
  return sane(row) && sane(column) ? [row, column] : [1, 1];
}

type Values = Uint8Array | Uint16Array | Int16Array;

/** The values of a frame in at most 16 bits: a shade has no more, and textures hold no more. */
function valuesOf(frame: Frame, told: FrameFacts, octets: ArrayBuffer): { values: Values; facts: FrameFacts } {
  const { rows, columns } = frame.instance;
  const length = rows * columns * told.samples;
  const wanted = (length * told.bits) / 8;
  if (octets.byteLength < wanted) throw new Error(`a frame of ${octets.byteLength} octets where ${wanted} are needed`);
  if (told.bits === 32) {
    const wide = new Int32Array(octets, 0, length);
    const { smallest, slope, intercept } = told;
    const scale = Math.max(1, told.largest - smallest) / 65_535;
    const values = Uint16Array.from(wide, (value) => Math.min(65_535, Math.max(0, (value - smallest) / scale)));
    return { values, facts: { ...told, slope: slope * scale, intercept: intercept + smallest * slope, smallest: 0, largest: 65_535, padding: null } };
  }
  const values = told.bits === 8 ? new Uint8Array(octets, 0, length) : told.signed ? new Int16Array(octets, 0, length) : new Uint16Array(octets, 0, length);
  if (told.padding !== null) {
    // Where there is no image it is black.
    const [low, high] = told.padding;
    const black = told.inverted ? told.largest : told.smallest;
    for (let at = 0; at < length; at++) if (values[at]! >= low && values[at]! <= high) values[at] = black;
  }
  return { values, facts: told };
}

/** Colour with a fourth sample, as canvases want it. */
function withAlpha(values: Uint8Array): Uint8Array {
  const out = new Uint8Array((values.length / 3) * 4);
  for (let from = 0, to = 0; from < values.length; from += 3, to += 4) {
    out[to] = values[from]!;
    out[to + 1] = values[from + 1]!;
    out[to + 2] = values[from + 2]!;
    out[to + 3] = 255;
  }
  return out;
}

async function load(id: string, signal: AbortSignal): Promise<Types.IImage> {
  const frame = frames.get(id);
  if (frame === undefined) throw new Error('a frame of no study');
  const response = await fetch(id.slice(SCHEME.length + 1), { credentials: 'same-origin', signal });
  if (!response.ok) {
    const told = (await response.json().catch(() => ({}))) as { error?: string };
    throw new ApiError(response.status, 'pixels', told.error ?? `the coordinator answered ${response.status}`);
  }
  const { rows, columns } = frame.instance;
  const told = JSON.parse(response.headers.get('X-Prelim-Frame') ?? 'null') as FrameFacts | null;
  if (told === null) throw new Error('a frame of which nothing is told');
  const color = told.samples === 3;
  const taken = valuesOf(frame, told, await response.arrayBuffer());
  facts.set(id, taken.facts);
  const values = color ? withAlpha(taken.values as Uint8Array) : taken.values;
  const [smallest, largest] = color ? [0, 255] : [taken.facts.smallest, taken.facts.largest];
  const components = color ? 4 : 1;
  const [rowSpacing, columnSpacing] = spacingOf(frame);
  const width = Math.max(1, largest - smallest);
  return {
    imageId: id,
    rows,
    columns,
    height: rows,
    width: columns,
    color,
    rgba: color,
    numberOfComponents: components,
    minPixelValue: smallest,
    maxPixelValue: largest,
    // Cornerstone sees stored values; windows are brought to them by `Pane`.
    slope: 1,
    intercept: 0,
    windowCenter: color ? 127.5 : (smallest + largest) / 2,
    windowWidth: color ? 255 : width,
    voiLUTFunction: Enums.VOILUTFunctionType.LINEAR,
    columnPixelSpacing: columnSpacing,
    rowPixelSpacing: rowSpacing,
    // `Pane` inverts.
    invert: false,
    photometricInterpretation: color ? 'RGB' : 'MONOCHROME2',
    sizeInBytes: values.byteLength,
    dataType: values.constructor.name as Types.PixelDataTypedArrayString,
    getPixelData: () => values,
    getCanvas: () => {
      throw new Error('no canvas is kept of a frame');
    },
    voxelManager: utilities.VoxelManager.createImageVoxelManager({ width: columns, height: rows, scalarData: values, numberOfComponents: components }),
  } as Types.IImage;
}

/** What Cornerstone asks of a frame. Each lies in a plane of its own: where in the patient that is, the page says itself, and no
 *  header can turn a stack over. */
function described(type: string, id: string): object | undefined {
  const frame = frames.get(id);
  if (frame === undefined) return undefined;
  const { rows, columns } = frame.instance;
  const told = facts.get(id);
  const bits = told?.bits === 8 ? 8 : 16;
  const [rowSpacing, columnSpacing] = spacingOf(frame);
  switch (type) {
    case Enums.MetadataModules.IMAGE_PLANE:
      return {
        rows,
        columns,
        imageOrientationPatient: [1, 0, 0, 0, 1, 0],
        rowCosines: [1, 0, 0],
        columnCosines: [0, 1, 0],
        imagePositionPatient: [0, 0, 0],
        rowPixelSpacing: rowSpacing,
        columnPixelSpacing: columnSpacing,
        pixelSpacing: [rowSpacing, columnSpacing],
        frameOfReferenceUID: frame.series,
        usingDefaultValues: false,
      };
    case Enums.MetadataModules.IMAGE_PIXEL:
      return {
        rows,
        columns,
        bitsAllocated: bits,
        bitsStored: bits,
        highBit: bits - 1,
        samplesPerPixel: told?.samples ?? 1,
        pixelRepresentation: told?.signed === true && told.bits === 16 ? 1 : 0,
        photometricInterpretation: told?.samples === 3 ? 'RGB' : 'MONOCHROME2',
      };
    case Enums.MetadataModules.GENERAL_SERIES:
      return { modality: 'OT', seriesInstanceUID: frame.series };
    case Enums.MetadataModules.VOI_LUT:
      return {};
    case Enums.MetadataModules.MODALITY_LUT:
      return { rescaleSlope: 1, rescaleIntercept: 0 };
    default:
      return undefined;
  }
}

export function register(): void {
  imageLoader.registerImageLoader(SCHEME, (id: string) => {
    const abort = new AbortController();
    return { promise: load(id, abort.signal), cancelFn: () => abort.abort() };
  });
  metaData.addProvider(described as (type: string, ...query: string[]) => unknown, 10_000);
}
