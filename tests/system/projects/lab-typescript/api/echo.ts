export default async function handler(params: unknown) {
  return params;
}
