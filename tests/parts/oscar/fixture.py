"""Fills a fresh Oscar with an invented shop: the articles of the other fixtures, under the same codes, prices with tax."""
import sys

import django

django.setup()

from django.contrib.auth import get_user_model
from oscar.apps.catalogue.categories import create_from_breadcrumbs
from oscar.core.loading import get_model

Product, ProductClass = get_model('catalogue', 'Product'), get_model('catalogue', 'ProductClass')
ProductAttribute, ProductCategory = get_model('catalogue', 'ProductAttribute'), get_model('catalogue', 'ProductCategory')
Partner, StockRecord = get_model('partner', 'Partner'), get_model('partner', 'StockRecord')
Country = get_model('address', 'Country')


def ean(number):
    """An EAN of the range that shops number themselves, which no article in trade has."""
    digits = '200' + str(number).zfill(9)
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


user, password = sys.argv[1:]
get_user_model().objects.create_superuser(user, user + '@harbour-and-pine.example', password)
for code, name in (('FR', 'France'), ('BE', 'Belgium')):
    Country.objects.create(iso_3166_1_a2=code, name=name, printable_name=name, is_shipping_country=True)

goods = ProductClass.objects.create(name='Goods', slug='goods')
for code, name, kind in (
    ('material', 'Material', ProductAttribute.TEXT),
    ('size', 'Size', ProductAttribute.TEXT),
    ('weight_g', 'Weight in grams', ProductAttribute.INTEGER),
    ('organic', 'Organic', ProductAttribute.BOOLEAN),
):
    ProductAttribute.objects.create(product_class=goods, code=code, name=name, type=kind)

warehouse = Partner.objects.create(name='Warehouse', code='warehouse')


def article(number, title, amount, category=None, parent=None, **attributes):
    structure = Product.CHILD if parent else Product.STANDALONE
    product = Product(structure=structure, parent=parent, upc=ean(number), title=title, product_class=None if parent else goods)
    for code, value in attributes.items():
        setattr(product.attr, code, value)
    product.save()
    if category:
        ProductCategory.objects.create(product=product, category=create_from_breadcrumbs(category))
    StockRecord.objects.create(
        product=product, partner=warehouse, partner_sku=product.upc, price_currency='EUR', price=amount, num_in_stock=100000,
    )


shirt = Product(
    structure=Product.PARENT, title='Cotton T-shirt', description='Plain, with a round neck.', product_class=goods,
)
shirt.attr.material = 'cotton'
shirt.attr.organic = True
shirt.save()
ProductCategory.objects.create(product=shirt, category=create_from_breadcrumbs('Clothing > T-shirts'))
for number, size in enumerate(('S', 'M', 'L'), 1):
    article(number, f'Cotton T-shirt, {size}', '15.00', parent=shirt, size=size)
article(4, 'Wool jumper, M', '59.88', 'Clothing > Jumpers', material='wool', size='M', weight_g=420)
article(5, 'Linen trousers, M', '46.80', 'Clothing > Trousers', material='linen', size='M', weight_g=310)
article(6, 'Canvas bag', '23.94', 'Clothing > Bags', material='canvas', organic=True)
article(7, 'Enamel mug', '10.08', 'Home > Kitchen', material='enamel', weight_g=180)
article(8, 'Beech board', '28.80', 'Home > Kitchen', material='beech', weight_g=900)
article(9, 'Beeswax candle', '7.50', 'Home > Living', material='beeswax', organic=True)
article(10, 'Oak stool', '106.80', 'Home > Living', material='oak', weight_g=4200)
