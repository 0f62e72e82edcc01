import type { Locator, Page } from 'playwright';

/** A JSON schema. */
export type JsonSchema = { [keyword: string]: any };

export type TextContentItem = { type: 'text'; data: string };
export type ImageUrlContentItem = { type: 'image-url'; image_type: string; data: string };
export type ImageBufferContentItem = { type: 'image-buffer'; image_type: string; data: Uint8Array };
export type ContentItem = TextContentItem | ImageUrlContentItem | ImageBufferContentItem;

export interface ExtractOptions {
  prompt?: string;
  model?: string;
  apiKey?: string;
  enableCache?: boolean;
  enableDomMatching?: boolean;
  maxRetries?: number;
}
export type ExtractSource =
  { source: Page | Locator; strategy?: 'HTML' | 'MARKDOWN' | 'IMAGE' } | { content: ContentItem | ContentItem[] };

/** Rejects with PlatformOnlyError of `@intuned/runtime`: it asks a model, and Callboard has none. */
export function extractStructuredData<T>(
  options: ExtractSource & ExtractOptions & { dataSchema: { readonly _output: T } },
): Promise<T>;
export function extractStructuredData(
  options: ExtractSource & ExtractOptions & { dataSchema: JsonSchema },
): Promise<any>;

/** Rejects with PlatformOnlyError of `@intuned/runtime`: it shows a model a picture of the page, and Callboard has none. */
export function isPageLoaded(options: {
  page: Page;
  timeoutInMs?: number;
  model?: string;
  apiKey?: string;
}): Promise<boolean>;
