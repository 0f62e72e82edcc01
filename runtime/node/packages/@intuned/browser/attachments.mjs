/**
 * Keeps files: in a bucket, or as files of the Run.
 *
 * @import { Download, Locator, Page } from "playwright"
 * @import { Bucket, S3Configs } from "./bucket.mjs"
 */

import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { openAsBlob } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { findBucket, put, signedUrl } from './bucket.mjs';
import { downloadFile } from './downloads.mjs';

/** Files below this folder are files of the Run (docs/contract.md, section 12.7). User code may go elsewhere later. */
const OUTPUT = path.resolve('output');

/** How long a signed address is valid: five days. */
const EXPIRATION_IN_SECONDS = 432_000;

/** A file that is kept. Without `bucket` it is a file of the Run, and `key` is its name there. */
export class Attachment {
  /** @type {Bucket | undefined} The bucket with its credentials, which must not get into a result. */
  #bucket;

  /**
   * @param {object} fields
   * @param {string} fields.fileName
   * @param {string} fields.key
   * @param {string} fields.suggestedFileName
   * @param {string} [fields.fileType]
   * @param {string | null} [fields.bucket]
   * @param {string | null} [fields.region]
   * @param {string | null} [fields.endpoint]
   * @param {Bucket} [bucket] where the file is; by default the variables of the environment have its credentials
   */
  constructor({ fileName, key, suggestedFileName, fileType = 'document', bucket, region, endpoint }, where) {
    this.fileName = fileName;
    this.key = key;
    this.bucket = bucket ?? null;
    this.region = region ?? null;
    this.endpoint = endpoint ?? null;
    this.suggestedFileName = suggestedFileName;
    this.fileType = fileType;
    this.#bucket = where;
  }

  /**
   * Make an attachment of what `toDict` has returned.
   *
   * @param {Record<string, string>} data
   */
  static fromDict(data) {
    return new Attachment(data);
  }

  /** Return the fields that are not null. */
  toDict() {
    return Object.fromEntries(Object.entries(this).filter(([, value]) => value !== null));
  }

  /** JSON of an attachment, in a result for example, is that of `toDict()`. */
  toJSON() {
    return this.toDict();
  }

  /**
   * Return an address by which anybody can read the file, for `expiration` seconds.
   *
   * Of a file of the Run, this is its path at Callboard's API, which needs a key and is there once the Attempt has ended.
   * Outside of an Attempt, it is the file on this host.
   *
   * @param {number} [expiration] 604,800 (seven days) at most
   * @returns {Promise<string>}
   */
  async getSignedUrl(expiration = EXPIRATION_IN_SECONDS) {
    if (this.bucket === null) return addressInRun(this.key);
    const { bucket, region, endpoint } = this;
    return signedUrl(this.#bucket ?? findBucket({ bucket, region, endpoint }), this.key, expiration);
  }

  /** Return the address of the file in its bucket, which only its owner can read. Throws of a file of the Run. */
  getS3Key() {
    if (this.bucket === null) throw new Error(`${this.key} is a file of the Run, in no bucket: use getSignedUrl().`);
    if (this.endpoint) return `${this.endpoint.replace(/\/$/, '')}/${this.bucket}/${this.key}`;
    return `https://${this.bucket}.s3.${this.region}.amazonaws.com/${this.key}`;
  }
}

/**
 * Keep a file in the bucket of `configs`, else in that of the variables `AWS_…`, else as a file of the Run.
 *
 * @param {object} options
 * @param {Download | Uint8Array | ArrayBuffer} options.file
 * @param {S3Configs} [options.configs]
 * @param {string} [options.fileNameOverride] the key in the bucket; the path below `output/`. By default, the name that
 *   the site suggests, in a bucket below a folder of its own, so that nothing is overwritten.
 * @param {string} [options.contentType] by default, what the name suggests
 * @returns {Promise<Attachment>}
 */
export async function uploadFileToS3({ file, configs, fileNameOverride, contentType }) {
  const isDownload = typeof file?.saveAs === 'function';
  if (!isDownload && !ArrayBuffer.isView(file) && !(file instanceof ArrayBuffer)) {
    throw new TypeError('uploadFileToS3() takes a Download of Playwright, a Buffer or an ArrayBuffer as file.');
  }
  const suggested = isDownload ? file.suggestedFilename() : randomUUID();
  const suggestedFileName = path.posix.basename(fileNameOverride ?? suggested);
  const save = (target) =>
    isDownload ? file.saveAs(target) : writeFile(target, ArrayBuffer.isView(file) ? file : new Uint8Array(file));
  const bucket = findBucket(configs);
  if (!bucket) {
    const key = await saveInRun(fileNameOverride ?? suggested, save);
    console.info(`${key} is kept as a file of the Run, as no bucket is configured.`);
    return new Attachment({ fileName: key, key, suggestedFileName });
  }
  const key = fileNameOverride ?? (isDownload ? `${randomUUID()}/${suggested}` : suggested);
  const folder = await mkdtemp(path.join(tmpdir(), 'upload-'));
  try {
    const copy = path.join(folder, 'file');
    await save(copy);
    await put(bucket, key, await openAsBlob(copy), contentType);
  } finally {
    await rm(folder, { recursive: true });
  }
  const { bucket: name, region, endpoint } = bucket;
  return new Attachment({ fileName: key, key, suggestedFileName, bucket: name, region, endpoint }, bucket);
}

/**
 * Download a file as `downloadFile` does, and keep it as `uploadFileToS3` does.
 *
 * @param {object} options
 * @param {Page} options.page
 * @param {string | Locator | ((page: Page) => unknown)} options.trigger
 * @param {number} [options.timeoutInMs]
 * @param {S3Configs} [options.configs]
 * @param {string} [options.fileNameOverride]
 * @param {string} [options.contentType]
 * @returns {Promise<Attachment>}
 */
export async function saveFileToS3({ page, trigger, timeoutInMs, ...kept }) {
  return uploadFileToS3({ file: await downloadFile({ page, trigger, timeoutInMs }), ...kept });
}

/**
 * Have `save` write a file below `output/`, and return its path there, which has a number if the name is taken.
 *
 * @param {string} name
 * @param {(target: string) => Promise<unknown>} save
 */
async function saveInRun(name, save) {
  const wanted = path.parse(path.join(OUTPUT, name));
  if (!`${wanted.dir}/`.startsWith(`${OUTPUT}/`))
    throw new TypeError(`${JSON.stringify(name)} is not a path below output/.`);
  await mkdir(wanted.dir, { recursive: true });
  for (let number = 1; ; number++) {
    const target = path.join(wanted.dir, `${wanted.name}${number > 1 ? `-${number}` : ''}${wanted.ext}`);
    try {
      await (await open(target, 'wx')).close();
    } catch (error) {
      if (error.code === 'EEXIST') continue;
      throw error;
    }
    await save(target);
    return path.relative(OUTPUT, target);
  }
}

/**
 * Return the path of a file of the Run at the API. The process of user code knows that of the Attempt.
 *
 * @param {string} name
 */
function addressInRun(name) {
  const attempt = globalThis[Symbol.for('callboard.runtime')]?.runInfo.attempt_path;
  return attempt ? `${attempt}/files/${encodeURIComponent(name)}` : pathToFileURL(path.join(OUTPUT, name)).href;
}
