export default async function handler() {
  throw new Error('the price is missing');
}
