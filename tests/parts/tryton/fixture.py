"""Fills a fresh Tryton database with an invented retailer. Usage: fixture.py URI, while no server uses it.

Company in euros, chart of accounts, VAT of 20 %, ten articles with EANs and stock, customers, a price list, a till.
"""
import datetime
import sys
from decimal import Decimal

from proteus import Model, config

# Before anything of the server is imported: it decides there which database it speaks to.
proteus = config.set_trytond(sys.argv[1])

from trytond.modules.account.tests.tools import create_chart, get_accounts  # noqa: E402
from trytond.modules.company.tests.tools import create_company, get_company  # noqa: E402
from trytond.modules.currency.tests.tools import get_currency  # noqa: E402


def get(model, *domain):
    record, = Model.get(model).find(list(domain), limit=1)
    return record


def save(model, **values):
    record = Model.get(model)(**values)
    record.save()
    return record


def ean(number):
    """An EAN of the range that shops number themselves, which no article in trade has."""
    digits = f'200{number:09}'
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f'{digits}{-total % 10}'


# The company, and the administrator as its user.
create_company(party=save('party.party', name="Harbour & Pine"), currency=get_currency('EUR'))
company = get_company()
user = get('res.user', ('login', '=', 'admin'))
user.companies.append(company)
user.company = company
user.save()
proteus._context = Model.get('res.user').get_preferences(True, {})

# Accounts: a year of the books that outlasts these tests, in periods of one calendar year.
create_chart(company)
accounts = get_accounts(company)
first, last = 2020, 2049


def sequence(name, kind):
    return save('ir.sequence.strict', name=name, sequence_type=get('ir.sequence.type', ('name', '=', kind)), company=company)


year = Model.get('account.fiscalyear')(
    name="The books", company=company, start_date=datetime.date(first, 1, 1), end_date=datetime.date(last, 12, 31))
year.move_sequence = sequence("Moves", "Account Move")
numbers = year.invoice_sequences[0]
numbers.out_invoice_sequence = numbers.in_invoice_sequence = sequence("Invoices", "Invoice")
numbers.out_credit_note_sequence = numbers.in_credit_note_sequence = sequence("Credit notes", "Invoice")
year.save()
for number in range(first, last + 1):
    save(
        'account.period', name=str(number), fiscalyear=year, type='standard',
        start_date=datetime.date(number, 1, 1), end_date=datetime.date(number, 12, 31))

vat = save(
    'account.tax', name="VAT 20 %", description="VAT 20 %", type='percentage', rate=Decimal('0.20'),
    invoice_account=accounts['tax'], credit_note_account=accounts['tax'])
term = Model.get('account.invoice.payment_term')(name="At once")
term.lines.new(type='remainder')
term.save()
cash_journal = get('account.journal', ('type', '=', 'cash'))
save(
    'account.invoice.payment.method', name="Card", journal=cash_journal, credit_account=accounts['cash'],
    debit_account=accounts['cash'])

# Articles: goods with a barcode as their code, and what an order carries beside goods.
goods = Model.get('product.category')(name="Goods", accounting=True)
goods.account_revenue, goods.account_expense = accounts['revenue'], accounts['expense']
goods.customer_taxes.append(vat)
goods.save()
unit = get('product.uom', ('name', '=', "Unit"))


def article(name, code, price, kind='goods', barcode=None):
    template = Model.get('product.template')(name=name, default_uom=unit, type=kind, salable=True)
    template.account_category = goods
    template.list_price = Decimal(price)
    product = template.products[0]
    product.suffix_code = code
    if barcode:
        product.identifiers.new(type='ean', code=barcode)
    template.save()
    return template.products[0]


shelf = [
    ("Cotton T-shirt, S", '12.50'), ("Cotton T-shirt, M", '12.50'), ("Cotton T-shirt, L", '12.50'),
    ("Wool jumper, M", '49.90'), ("Linen trousers, M", '39.00'), ("Canvas bag", '19.95'), ("Enamel mug", '8.40'),
    ("Beech board", '24.00'), ("Beeswax candle", '6.25'), ("Oak stool", '89.00'),
]
articles = [article(name, ean(at), price, barcode=ean(at)) for at, (name, price) in enumerate(shelf, 1)]
article("Delivery", 'DELIVERY', '4.90', kind='service')

storage = get('stock.location', ('code', '=', 'STO'))
inventory = Model.get('stock.inventory')(location=storage, date=datetime.date(first, 1, 2), empty_quantity='keep')
for product in articles:
    inventory.lines.new(product=product, quantity=100_000.0)
inventory.click('confirm')

# People.
country = save('country.country', name="France", code='FR')


def customer(name, code, email, street, postal_code, city):
    party = Model.get('party.party')(name=name, code=code, customer_payment_term=term)
    address = party.addresses[0] if party.addresses else party.addresses.new()
    address.street_unstructured, address.postal_code, address.city = street, postal_code, city
    address.country = country
    if email:
        party.contact_mechanisms.new(type='email', value=email)
    party.save()
    return party


customer("Camille Exemple", 'CAMILLE', 'camille@exemple.example', "1 quai des Essais", '44000', "Nantes")
customer("Web shop", 'WEBSHOP', None, "2 quai des Essais", '44000', "Nantes")

# A price list: a tenth off.
prices = Model.get('product.price_list')(name="Members", unit='product_default', price='list_price')
prices.lines.new(formula='unit_price * 0.9')
prices.save()

# A till in a shop, and how it is paid.
till = Model.get('sale.point')(name="Shop 1, till 1", tax_included=True, journal=get('account.journal', ('type', '=', 'revenue')))
till.sequence = sequence("Tickets", "POS")
till.storage_location = storage
till.return_location = get('stock.location', ('code', '=', 'IN'))
till.customer_location = get('stock.location', ('code', '=', 'CUS'))
till.save()
save('sale.point.payment.method', name="Cash", account=accounts['cash'], cash=True)
terminal, = accounts['cash'].duplicate(default={'name': "Card terminal"})
save('sale.point.payment.method', name="Card", account=terminal)

# A web shop: an order that names it and its own number for the order is taken once.
shop = Model.get('web.shop')(name="Web shop", company=company, currency=get_currency('EUR'))
shop.warehouses.append(get('stock.location', ('code', '=', 'WH')))
shop.save()
