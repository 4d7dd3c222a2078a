/** Frames from the coordinator, decoded there, as images of Cornerstone's. */

import { imageLoader, metaData, utilities, Enums, type Types } from '@cornerstonejs/core';
import { ApiError } from '../api/client.ts';
import { SCHEME, type Frame } from './frames.ts';

const frames = new Map<string, Frame>();

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

function valuesOf(frame: Frame, octets: ArrayBuffer): Uint8Array | Uint16Array | Int16Array {
  const { rows, columns, pixels } = frame.instance;
  const length = rows * columns * pixels.samples;
  const wanted = (length * pixels.bits) / 8;
  if (octets.byteLength < wanted) throw new Error(`a frame of ${octets.byteLength} octets where ${wanted} are needed`);
  if (pixels.bits === 8) return new Uint8Array(octets, 0, length);
  return pixels.signed ? new Int16Array(octets, 0, length) : new Uint16Array(octets, 0, length);
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
  const { rows, columns, photometric, pixels } = frame.instance;
  const color = pixels.samples === 3;
  let values = valuesOf(frame, await response.arrayBuffer());
  if (color) values = withAlpha(values as Uint8Array);
  let smallest = color ? 0 : Infinity;
  let largest = color ? 255 : -Infinity;
  if (!color) {
    for (const value of values) {
      if (value < smallest) smallest = value;
      if (value > largest) largest = value;
    }
  }
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
    invert: photometric === 'MONOCHROME1',
    photometricInterpretation: color ? 'RGB' : photometric,
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
  const { rows, columns, photometric, pixels } = frame.instance;
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
        bitsAllocated: pixels.bits,
        bitsStored: pixels.bits,
        highBit: pixels.bits - 1,
        samplesPerPixel: pixels.samples,
        pixelRepresentation: pixels.signed ? 1 : 0,
        photometricInterpretation: pixels.samples === 3 ? 'RGB' : photometric,
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
