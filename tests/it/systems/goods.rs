//! Articles, stock and prices on their way from PIM and ERP to shop and tills.
