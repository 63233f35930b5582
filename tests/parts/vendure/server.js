// Vendure on PostgreSQL, on a port of this machine, in one process: server and worker.
//   node server.js        serves; PORT and DATABASE_URL say where
//   node server.js fill   makes tables and an invented shop in an empty database, and ends
const { writeFileSync } = require('fs');
const { join } = require('path');
const {
  bootstrap, ChannelService, DefaultJobQueuePlugin, DefaultLogger, DefaultSearchPlugin, dummyPaymentHandler,
  JobQueueService, LogLevel, RequestContextService,
} = require('@vendure/core');
const { populate } = require('@vendure/core/cli');

const fill = process.argv[2] === 'fill';

const config = {
  apiOptions: { port: Number(process.env.PORT), hostname: '127.0.0.1', adminApiPath: 'admin-api', shopApiPath: 'shop-api' },
  authOptions: {
    superadminCredentials: { identifier: 'superadmin', password: 'superadmin' },
    tokenMethod: ['bearer', 'api-key'],
    requireVerification: false,
  },
  dbConnectionOptions: { type: 'postgres', url: process.env.DATABASE_URL, synchronize: fill },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  logger: new DefaultLogger({ level: LogLevel.Warn, timestamp: false }),
  plugins: [DefaultJobQueuePlugin.init({ pollInterval: 200 }), DefaultSearchPlugin.init({ bufferUpdates: false })],
};

const shop = {
  defaultLanguage: 'en',
  defaultZone: 'Europe',
  countries: [{ name: 'France', code: 'FR', zone: 'Europe' }, { name: 'Belgium', code: 'BE', zone: 'Europe' }],
  taxRates: [{ name: 'Standard', percentage: 20 }],
  shippingMethods: [{ name: 'Parcel', price: 490, taxRate: 20 }],
  // Money is taken at once, or refused where the shop's visitor asks for that.
  paymentMethods: [{ name: 'Card', handler: { code: 'dummy-payment-handler', arguments: [{ name: 'automaticSettle', value: 'true' }] } }],
  collections: [],
};

// An EAN of the range that shops number themselves, which no article in trade has.
function ean(number) {
  const digits = '200' + String(number).padStart(9, '0');
  const total = [...digits].reduce((sum, digit, place) => sum + Number(digit) * (place % 2 ? 3 : 1), 0);
  return digits + ((10 - (total % 10)) % 10);
}

// The articles of Tryton's fixture, under the same codes; prices with tax.
const shelf = [
  ['Cotton T-shirt, S', 15.00], ['Cotton T-shirt, M', 15.00], ['Cotton T-shirt, L', 15.00], ['Wool jumper, M', 59.88],
  ['Linen trousers, M', 46.80], ['Canvas bag', 23.94], ['Enamel mug', 10.08], ['Beech board', 28.80],
  ['Beeswax candle', 7.50], ['Oak stool', 106.80],
];

function articles() {
  const head = 'name,slug,description,assets,facets,optionGroups,optionValues,sku,price,taxCategory,stockOnHand,trackInventory,variantAssets,variantFacets';
  const rows = shelf.map(([name, price], at) =>
    `"${name}",${ean(at + 1)},"${name}",,,,,${ean(at + 1)},${price.toFixed(2)},Standard,100000,true,,`);
  const file = join(process.cwd(), 'articles.csv');
  writeFileSync(file, [head, ...rows, ''].join('\n'));
  return file;
}

// Before anything has a price: euros, and prices with tax.
async function empty() {
  const app = await bootstrap({ ...config, importExportOptions: { importAssetsDir: process.cwd() } });
  const context = await app.get(RequestContextService).create({ apiType: 'admin' });
  const { id } = await app.get(ChannelService).getDefaultChannel(context);
  const euros = { defaultCurrencyCode: 'EUR', availableCurrencyCodes: ['EUR'], pricesIncludeTax: true };
  await app.get(ChannelService).update(context, { id, ...euros });
  return app;
}

async function main() {
  if (fill) {
    const app = await populate(empty, shop, articles());
    await app.close();
    process.exit(0);
  }
  const app = await bootstrap(config);
  await app.get(JobQueueService).start();
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
