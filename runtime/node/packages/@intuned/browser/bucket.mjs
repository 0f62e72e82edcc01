/** Speaks to a bucket: S3, or what has its API. */

import { AwsClient } from 'aws4fetch';
import { lookup } from 'mrmime';

/**
 * @typedef {object} S3Configs
 * @property {string} [bucket]
 * @property {string} [region]
 * @property {string} [accessKeyId]
 * @property {string} [secretAccessKey]
 * @property {string} [endpoint] of a service other than AWS
 *
 * @typedef {object} Bucket
 * @property {string} bucket
 * @property {string} region
 * @property {string} accessKeyId
 * @property {string} secretAccessKey
 * @property {string} [endpoint]
 */

/**
 * Return the bucket to use: what `configs` does not have is in the environment. Undefined if neither names a bucket.
 *
 * @param {S3Configs} [configs]
 * @returns {Bucket | undefined}
 * @throws an Error that names what is missing
 */
export function findBucket(configs) {
  const { env } = process;
  const found = {
    bucket: configs?.bucket ?? env.AWS_BUCKET,
    region: configs?.region ?? env.AWS_REGION,
    accessKeyId: configs?.accessKeyId ?? env.AWS_ACCESS_KEY_ID,
    secretAccessKey: configs?.secretAccessKey ?? env.AWS_SECRET_ACCESS_KEY,
  };
  if (!configs && !found.bucket) return undefined;
  const missing = Object.keys(found).filter((name) => !found[name]);
  if (missing.length) {
    throw new Error(
      `The bucket has no ${missing.join(', ')}. Pass configs, or set AWS_BUCKET, AWS_REGION, AWS_ACCESS_KEY_ID and ` +
        'AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for a service other than AWS.',
    );
  }
  return { ...found, endpoint: configs?.endpoint ?? env.AWS_ENDPOINT_URL };
}

/**
 * Write an object.
 *
 * @param {Bucket} bucket
 * @param {string} key
 * @param {Blob} body
 * @param {string} [contentType]
 */
export async function put(bucket, key, body, contentType) {
  const headers = { 'content-type': contentType ?? lookup(key) ?? 'application/octet-stream' };
  const response = await clientOf(bucket).fetch(addressOf(bucket, key), { method: 'PUT', body, headers });
  if (!response.ok) {
    const [, code] = /<Code>([^<]*)</.exec(await response.text()) ?? [];
    throw new Error(`${bucket.bucket} has not taken ${key}: ${[response.status, code].filter(Boolean).join(' ')}.`);
  }
}

/**
 * Return an address by which an object can be read for so many seconds.
 *
 * @param {Bucket} bucket
 * @param {string} key
 * @param {number} expiration
 */
export async function signedUrl(bucket, key, expiration) {
  const address = addressOf(bucket, key);
  address.searchParams.set('X-Amz-Expires', String(expiration));
  const signed = await clientOf(bucket).sign(address.href, { aws: { signQuery: true } });
  return signed.url;
}

/** @param {Bucket} bucket */
function clientOf({ accessKeyId, secretAccessKey, region }) {
  return new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3', retries: 3 });
}

/**
 * @param {Bucket} bucket
 * @param {string} key
 */
function addressOf({ bucket, region, endpoint }, key) {
  const path = key.split('/').map(encodeURIComponent).join('/');
  if (endpoint) return new URL(`${endpoint.replace(/\/$/, '')}/${bucket}/${path}`);
  return new URL(`https://${bucket}.s3.${region}.amazonaws.com/${path}`);
}
