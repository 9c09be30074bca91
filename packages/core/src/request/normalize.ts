/** How request paths are normalized before any policy looks at them (MeshConfig `pathNormalization.normalization`). Istio's DEFAULT is BASE. */
export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';
