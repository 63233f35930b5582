// Fills a fresh Medusa with an invented shop over its own API. Usage: node fixture.mjs http://host:port EMAIL PASSWORD
const [, , url, email, password] = process.argv;
let token = '';

async function ask(method, path, body) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

// An EAN of the range that shops number themselves, which no article in trade has.
function ean(number) {
  const digits = '200' + String(number).padStart(9, '0');
  const total = [...digits].reduce((sum, digit, place) => sum + Number(digit) * (place % 2 ? 3 : 1), 0);
  return digits + ((10 - (total % 10)) % 10);
}

token = (await ask('POST', '/auth/user/emailpass', { email, password })).token;

const { stores: [store] } = await ask('GET', '/admin/stores');
await ask('POST', `/admin/stores/${store.id}`, { supported_currencies: [{ currency_code: 'eur', is_default: true }] });
const { sales_channels: [channel] } = await ask('GET', '/admin/sales-channels');
await ask('POST', '/admin/regions', { name: 'Europe', currency_code: 'eur', countries: ['fr', 'be'] });
const { stock_location: place } = await ask('POST', '/admin/stock-locations', { name: 'Warehouse' });
await ask('POST', `/admin/stock-locations/${place.id}/sales-channels`, { add: [channel.id] });
const { shipping_profiles } = await ask('GET', '/admin/shipping-profiles');
const profile = shipping_profiles[0]
  ?? (await ask('POST', '/admin/shipping-profiles', { name: 'Parcels', type: 'default' })).shipping_profile;

// The articles of Tryton's fixture, under the same codes; prices with tax.
const shelf = [
  ['Cotton T-shirt, S', 15.00], ['Cotton T-shirt, M', 15.00], ['Cotton T-shirt, L', 15.00], ['Wool jumper, M', 59.88],
  ['Linen trousers, M', 46.80], ['Canvas bag', 23.94], ['Enamel mug', 10.08], ['Beech board', 28.80],
  ['Beeswax candle', 7.50], ['Oak stool', 106.80],
];
for (const [at, [title, amount]] of shelf.entries()) {
  const sku = ean(at + 1);
  await ask('POST', '/admin/products', {
    title, handle: sku, status: 'published', shipping_profile_id: profile.id, sales_channels: [{ id: channel.id }],
    options: [{ title: 'Kind', values: ['One'] }],
    variants: [{
      title, sku, ean: sku, manage_inventory: true, options: { Kind: 'One' }, prices: [{ currency_code: 'eur', amount }],
    }],
  });
  const { inventory_items: [item] } = await ask('GET', `/admin/inventory-items?sku=${sku}`);
  await ask('POST', `/admin/inventory-items/${item.id}/location-levels`, { location_id: place.id, stocked_quantity: 100000 });
}
