/** Frames from the coordinator, decoded there, as images of Cornerstone's. */

import { imageLoader, metaData, utilities, Enums, type Types } from '@cornerstonejs/core';
import { ApiError } from '../api/client.ts';
import type { FrameFacts } from '../api/types.ts';
import { SCHEME, type Frame } from './frames.ts';

const SHADED = `${SCHEME}-shaded`;

const frames = new Map<string, Frame>();
const facts = new Map<string, FrameFacts>();

/** What is known of a frame's values, once it was loaded. */
export function factsOf(id: string): FrameFacts | undefined {
  return facts.get(id);
}

/** Makes frames known by their addresses. */
export function announce(all: Iterable<Frame>): void {
  for (const frame of all) {
    frames.set(frame.id, frame);
    frames.set(shadedId(frame), frame);
  }
}

/** The address of a frame in the shades that its header asks for, where those are no window over its values. */
export function shadedId(frame: Frame): string {
  return `${SHADED}${frame.id.slice(SCHEME.length)}`;
}

/** Between rows and columns in mm; squares where nothing sane is known. Zero would be a black film, without an error. */
export function spacingOf(frame: Frame): [number, number] {
  const [row, column] = frame.instance.spacing ?? [];
  const sane = (mm: number | undefined): mm is number => mm !== undefined && Number.isFinite(mm) && mm > 1e-3 && mm < 100;
  return sane(row) && sane(column) ? [row, column] : [1, 1];
}

type Values = Uint8Array | Uint16Array | Int16Array;

/** What the pane draws a frame of. */
interface Taken {
  values: Values;
  facts: FrameFacts;
  /** The same in the shades of the header, 0 to 255 before inversion; nothing where a window over the values has them. */
  shades: Uint8Array | null;
}

/** The shades of values, by the table that comes behind them. Where there is no image it is black. */
function shadesOf(values: Values | Int32Array, told: FrameFacts, table: Uint8Array): Uint8Array {
  const [low, high] = told.padding ?? [1, 0];
  const black = told.inverted ? 255 : 0;
  const shades = new Uint8Array(values.length);
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!;
    shades[at] = value >= low && value <= high ? black : table[value - told.smallest]!;
  }
  return shades;
}

/** The values of a frame in at most 16 bits: a shade has no more, and textures hold no more. */
function valuesOf(frame: Frame, told: FrameFacts, octets: ArrayBuffer): Taken {
  const { rows, columns } = frame.instance;
  const length = rows * columns * told.samples;
  const wanted = (length * told.bits) / 8;
  const entries = told.shades ?? 0;
  if (octets.byteLength < wanted + entries) throw new Error(`a frame of ${octets.byteLength} octets where ${wanted + entries} are needed`);
  const table = entries === 0 ? null : new Uint8Array(octets, wanted, entries);
  if (told.bits === 32) {
    const wide = new Int32Array(octets, 0, length);
    const { smallest, slope, intercept } = told;
    const scale = Math.max(1, told.largest - smallest) / 65_535;
    const values = Uint16Array.from(wide, (value) => Math.min(65_535, Math.max(0, (value - smallest) / scale)));
    return { values, facts: { ...told, slope: slope * scale, intercept: intercept + smallest * slope, smallest: 0, largest: 65_535, padding: null }, shades: table && shadesOf(wide, told, table) };
  }
  const values = told.bits === 8 ? new Uint8Array(octets, 0, length) : told.signed ? new Int16Array(octets, 0, length) : new Uint16Array(octets, 0, length);
  const shades = table && shadesOf(values, told, table);
  if (told.padding !== null) {
    // Where there is no image it is black.
    const [low, high] = told.padding;
    const black = told.inverted === told.slope >= 0 ? told.largest : told.smallest;
    for (let at = 0; at < length; at++) if (values[at]! >= low && values[at]! <= high) values[at] = black;
  }
  return { values, facts: told, shades };
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

/** Images that were fetched and that Cornerstone has not taken yet. */
const prepared = new Map<string, Types.IImage>();
/** Shades of the header, as long as the values are held. */
const shades = new WeakMap<Types.IImage, Uint8Array>();

/** Has Cornerstone hold an image that was fetched. */
export async function hold(image: Types.IImage): Promise<void> {
  prepared.set(image.imageId, image);
  await imageLoader.loadAndCacheImage(image.imageId);
  // One that it held already it does not ask for.
  prepared.delete(image.imageId);
}

/** Fetches a frame; one that somebody looks at is asked for before others. */
export async function load(id: string, signal?: AbortSignal, isWanted = true): Promise<Types.IImage> {
  const frame = frames.get(id);
  if (frame === undefined) throw new Error('a frame of no study');
  const response = await fetch(id.slice(SCHEME.length + 1), { credentials: 'same-origin', priority: isWanted ? 'high' : 'low', ...(signal === undefined ? {} : { signal }) });
  if (!response.ok) {
    const told = (await response.json().catch(() => ({}))) as { error?: string };
    throw new ApiError(response.status, 'pixels', told.error ?? `the coordinator answered ${response.status}`);
  }
  const told = JSON.parse(response.headers.get('X-Prelim-Frame') ?? 'null') as FrameFacts | null;
  if (told === null) throw new Error('a frame of which nothing is told');
  const color = told.samples === 3;
  const taken = valuesOf(frame, told, await response.arrayBuffer());
  facts.set(id, taken.facts);
  const [smallest, largest] = color ? [0, 255] : [taken.facts.smallest, taken.facts.largest];
  const image = imageOf(id, frame, color ? withAlpha(taken.values as Uint8Array) : taken.values, [smallest, largest], color);
  if (taken.shades !== null) shades.set(image, taken.shades);
  return image;
}

/** A frame in the shades of its header. */
async function shaded(id: string): Promise<Types.IImage> {
  const frame = frames.get(id);
  if (frame === undefined) throw new Error('a frame of no study');
  const found = shades.get(await imageLoader.loadAndCacheImage(frame.id));
  if (found === undefined) throw new Error('a frame whose shades are a window over its values');
  return imageOf(id, frame, found, [0, 255], false);
}

function imageOf(id: string, frame: Frame, values: Values, [smallest, largest]: [number, number], color: boolean): Types.IImage {
  const { rows, columns } = frame.instance;
  const components = color ? 4 : 1;
  const [rowSpacing, columnSpacing] = spacingOf(frame);
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
    windowWidth: color ? 255 : Math.max(1, largest - smallest),
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
  const told = facts.get(frame.id);
  const bits = told?.bits === 8 || id.startsWith(SHADED) ? 8 : 16;
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
        pixelRepresentation: told?.signed === true && bits === 16 && told.bits === 16 ? 1 : 0,
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
    const ready = prepared.get(id);
    prepared.delete(id);
    return { promise: ready === undefined ? load(id) : Promise.resolve(ready) };
  });
  imageLoader.registerImageLoader(SHADED, (id: string) => ({ promise: shaded(id) }));
  metaData.addProvider(described as (type: string, ...query: string[]) => unknown, 10_000);
}
