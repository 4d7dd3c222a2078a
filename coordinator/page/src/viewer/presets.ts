/** Windows by name, in Hounsfield units, on the number keys. */

export interface Window {
  center: number;
  width: number;
  /** Of a header's window, its VOI LUT Function, or that it stands for a table; else the window is linear from end to end. */
  function?: 'linear' | 'linear_exact' | 'sigmoid' | 'table';
}

export interface Preset extends Window {
  key: string;
  name: string;
}

/** In the order in which a chest CT is read. */
export const CT_PRESETS: readonly Preset[] = [
  { key: '1', name: 'Lung', center: -600, width: 1500 },
  { key: '2', name: 'Mediastinum', center: 40, width: 400 },
  { key: '3', name: 'Bone', center: 400, width: 1800 },
  { key: '4', name: 'Liver', center: 60, width: 160 },
  { key: '5', name: 'Brain', center: 40, width: 80 },
];
