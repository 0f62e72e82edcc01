import type { BrowserContext, Page } from 'playwright';

/** A login that `runApi('auth-sessions/create')` has made, for calls that begin with it. */
export interface MadeLogin {
  id: string;
  /** What it was made from. */
  parameters: any;
  /** Its cookies and storage. */
  state: any;
}

/** What an API has returned, and left beside that. */
export interface ApiRun {
  /** Its result, as a caller of the REST API gets it. */
  result: any;
  /** What `extendPayload` was given. */
  extendedPayloads: { api: string; parameters: Record<string, any> }[];
  /** What `setAttribute` was given. */
  attributes: Record<string, any>;
  /** The login that a create has made. */
  authSession?: MadeLogin;
}

/** How `runApi` calls an API. */
export interface RunApiOptions {
  /**
   * What `requestInput` gives, by name; and `handOver` is what the person does whom the browser is handed over: a
   * function that takes the page.
   */
  answers?: Record<string, string | ((page: Page) => unknown)>;
  /**
   * The login that the call begins with: the id of one that `callboard run authsession create` has made, or the
   * `authSession` that a call of `auth-sessions/create` has returned. Its check is not called.
   */
  authSession?: string | MadeLogin | undefined;
  /** Is called before the API, with its page: `context.route` can stand in for a site. */
  prepare?: (page: Page, context: BrowserContext) => unknown;
}

/**
 * Call an API of the project as an Attempt does, in a browser of its own. What it throws passes through.
 *
 * @param name Its name, such as `shop/list`; or `auth-sessions/create`, which makes a login. The working folder is that
 *   of the project.
 * @param parameters What it is called with.
 */
export function runApi(name: string, parameters?: unknown, options?: RunApiOptions): Promise<ApiRun>;
