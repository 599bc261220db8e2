/** Options after validation: every default is filled in. */
export type Resolved<T> = { readonly [K in keyof T]-?: Exclude<T[K], undefined> };
