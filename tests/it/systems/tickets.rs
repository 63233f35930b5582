//! Till tickets and the tills' end of day.
//!
//! Two tills write a day of POSLog files, made from a printed seed: sales, returns, cancelled tickets and training. Of the first
//! till one ticket never comes; of the second one comes late, and what it writes comes more than once. `RACCORD_TICKETS=30` makes
//! the day in the ERP a short one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Variables, asked_for, eventually, lay_out, run};
use crate::harness::{Folder, HubProcess, Random, wait_for};
use crate::parts::tryton::Tryton;

const PIPELINES: &[&str] = &["poslog-tickets", "store-sales", "till-days"];
const DAY: &str = "2025-03-03";
const REPORT: &str = "out/till-days/2025-03-03.csv";
const HEADER: &str = "business_day,store,till,state,tickets_of_till,tickets_received,late,cancelled,training,gross_of_till,gross_received,problems";
const WORKLIST: &str = "out/worklist/till-days.csv";

/// Articles of the ERP.
const ARTICLES: [&str; 10] = [
    "2000000000015",
    "2000000000022",
    "2000000000039",
    "2000000000046",
    "2000000000053",
    "2000000000060",
    "2000000000077",
    "2000000000084",
    "2000000000091",
    "2000000000107",
];

/// What is missing, doubled, late or told twice is found to the ticket and to the cent, while the ERP is away and though the hub is
/// killed.
#[tokio::test]
async fn a_tills_day_is_compared_with_what_the_till_says() {
    let mut random = Random::new();
    let folder = lay_out("tickets-day", PIPELINES);
    // Nobody listens there: what a day makes must not wait for the ERP.
    let variables = Variables::new().set("TRYTON_URL", "http://127.0.0.1:9/nobody");
    let (first, second) = (Till::day(&mut random, "0101-1", 1, 150), Till::day(&mut random, "0101-2", 48_701, 150));
    let (missing, late) = (first.one_of_the_middle(&mut random), second.one_of_the_middle(&mut random));

    let (of_first, settlement) = first.all_but_and_settlement(missing.0);
    folder.write("in/poslog/first.xml", file(&of_first));
    let of_second = second.all_but(late.0);
    let (morning, evening) = of_second.split_at(of_second.len() / 2);
    folder.write("in/poslog/morning.xml", file(morning));
    let mut hub = run(&folder, &variables).await;
    wait_for("the day begins", || folder.path(REPORT).exists().then_some(())).await;
    hub.kill9();

    folder.write("in/poslog/morning-again.xml", file(morning));
    folder.write("in/poslog/evening.xml", file(evening));
    folder.write("in/poslog/settlement.xml", file(&settlement));
    // Some tills write the whole day once more; this one writes it otherwise, and one ticket with another content.
    folder.write("in/poslog/whole-day.xml", file_in_one_line(&of_second));
    let (number, _) = first.tickets().next().expect("a ticket");
    let told_otherwise = file(&first.only(number)).replace(">17</OperatorID>", ">18</OperatorID>");
    folder.write("in/poslog/told-otherwise.xml", told_otherwise);
    let mut hub = run(&folder, &variables).await;
    let for_the_erp = all_is_counted(&folder, &variables).await;
    let received = first.tickets().count() + second.tickets().count() - 2;
    assert_eq!(for_the_erp, received as u64, "each ticket once\n{}", hub.log());
    let report = vec![HEADER.to_owned(), first.line(Some(&missing), 0), second.line(Some(&late), 0)];
    assert_eq!(ordered(&folder.read(REPORT)), report, "{}", hub.log());

    folder.write("in/poslog/late.xml", file(&second.only(late.0)));
    wait_for("the late ticket is taken", || {
        folder.names("in/poslog/done").contains(&"late.xml".to_owned()).then_some(())
    })
    .await;
    assert_eq!(all_is_counted(&folder, &variables).await, received as u64 + 1);
    let report = vec![HEADER.to_owned(), first.line(Some(&missing), 0), second.line(None, 1)];
    assert_eq!(ordered(&folder.read(REPORT)), report, "{}", hub.log());

    let worklist: Vec<String> =
        ordered(&folder.read(WORKLIST)).iter().skip(1).map(|line| line[17..].to_owned()).collect();
    let last = |till: &str| worklist.iter().rfind(|line| line.contains(till)).expect("a line").clone();
    assert_eq!(last("0101-1"), format!("{DAY},0101,0101-1,{}", problems(missing.0, &missing.1)));
    assert_eq!(last("0101-2"), format!("{DAY},0101,0101-2,in order now"));
    assert!(worklist.contains(&format!("{DAY},0101,0101-2,{}", problems(late.0, &late.1))), "{worklist:?}");
    assert_eq!(dead_letters(&folder, &variables), ["DEDUPE-CONFLICT"], "{}", hub.log());
    assert!(!hub.log().contains("EX-000117"), "a loyalty card stands in the log:\n{}", hub.log());
    assert!(hub.terminate().await.success());
}

/// Each ticket of the day is one sale of the ERP, paid as it was paid, and the stock moved; the report is right as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_two_tills_is_sold_once_in_the_erp() {
    if !asked_for() {
        return;
    }
    let tickets = std::env::var("RACCORD_TICKETS").ok().and_then(|tickets| tickets.parse().ok()).unwrap_or(100);
    let mut random = Random::new();
    let tryton = Arc::new(spawn_blocking(Tryton::private).await.expect("it starts"));
    let before = ask(&tryton, |tryton| {
        let till = tryton.id_of("sale.point", &json!([["name", "=", "Shop 1, till 1"]]));
        tryton.rpc("model.sale.point.copy", json!([[till], { "name": "Shop 1, till 2" }, { "company": 1 }]));
        stock(tryton)
    })
    .await;
    let folder = lay_out("tickets-erp", PIPELINES);
    let variables = Variables::new().tryton(&tryton);
    let (first, second) =
        (Till::day(&mut random, "0101-1", 1, tickets), Till::day(&mut random, "0101-2", 48_701, tickets));
    let (missing, late) = (first.one_of_the_middle(&mut random), second.one_of_the_middle(&mut random));
    let mut sold: BTreeMap<String, Ticket> = BTreeMap::new();
    for (till, name) in [(&first, "Shop 1, till 1"), (&second, "Shop 1, till 2")] {
        let all = till.tickets().filter(|(number, _)| *number != missing.0);
        sold.extend(all.map(|(number, ticket)| (format!("Ticket {number}, {name}, {DAY}"), ticket.clone())));
    }

    folder.write("in/poslog/first.xml", file(&first.all_but(missing.0)));
    folder.write("in/poslog/second.xml", file(&second.all_but(late.0)));
    let mut hub = run(&folder, &variables).await;
    until(&tryton, &hub, sold.len() / 3).await;
    hub.kill9();
    folder.write("in/poslog/second-again.xml", file_in_one_line(&second.all_but(late.0)));
    let mut hub = run(&folder, &variables).await;
    until(&tryton, &hub, sold.len() - 1).await;
    all_is_counted(&folder, &variables).await;
    let report = vec![HEADER.to_owned(), first.line(Some(&missing), 0), second.line(Some(&late), 0)];
    assert_eq!(ordered(&folder.read(REPORT)), report, "{}", hub.log());

    folder.write("in/poslog/late.xml", file(&second.only(late.0)));
    let (erp, all_of_them) = (tryton.clone(), sold.len());
    eventually("the late ticket", &hub, move || (posted(&erp) >= all_of_them).then_some(())).await;
    wait_for("nothing waits", || (queues(&folder, &variables).values().all(|waiting| *waiting == 0)).then_some(()))
        .await;
    let report = vec![HEADER.to_owned(), first.line(Some(&missing), 0), second.line(None, 1)];
    assert_eq!(ordered(&folder.read(REPORT)), report, "{}", hub.log());
    assert_eq!(dead_letters(&folder, &variables), Vec::<String>::new(), "{}", hub.log());

    assert_eq!(
        ask(&tryton, sales).await,
        sold.iter().map(|(note, ticket)| (note.clone(), vec![as_sold(ticket)])).collect()
    );
    let mut expected = before;
    for (article, quantity) in sold.values().flat_map(|ticket| &ticket.articles) {
        expected[*article] -= quantity;
    }
    assert_eq!(ask(&tryton, stock).await, expected, "pieces of each article in stock");
    assert!(hub.terminate().await.success());
}

/// What a sale of the ERP is compared by: state, cents in all, cents in cash, cents by card.
type Sold = (String, i64, i64, i64);

fn as_sold(ticket: &Ticket) -> Sold {
    ("posted".to_owned(), ticket.gross, ticket.cash, ticket.card)
}

async fn ask<T: Send + 'static>(tryton: &Arc<Tryton>, question: impl FnOnce(&Tryton) -> T + Send + 'static) -> T {
    let tryton = tryton.clone();
    spawn_blocking(move || question(&tryton)).await.expect("the ERP answers")
}

/// Pieces of each article in stock, as the ERP counts them.
fn stock(tryton: &Tryton) -> Vec<i64> {
    let warehouse = tryton.id_of("stock.location", &json!([["code", "=", "WH"]]));
    let context = json!({ "company": 1, "locations": [warehouse] });
    let of = |article: &&str| {
        let id = tryton.id_of("product.product", &json!([["code", "=", article]]));
        let told = tryton.rpc("model.product.product.read", json!([[id], ["quantity"], context]));
        #[allow(clippy::cast_possible_truncation, reason = "some hundred thousand pieces")]
        told[0]["quantity"].as_f64().map(|quantity| quantity.round() as i64).expect("a quantity")
    };
    ARTICLES.iter().map(of).collect()
}

/// The sales of the ERP that are not cancelled, by the notes on them.
fn sales(tryton: &Tryton) -> BTreeMap<String, Vec<Sold>> {
    let mut paid: BTreeMap<(i64, String), i64> = BTreeMap::new();
    for payment in all(tryton, "sale.point.payment", &["sale", "method.name", "amount"]) {
        let method = payment["method"]["name"].as_str().expect("a name").to_owned();
        *paid.entry((payment["sale"].as_i64().expect("an id"), method)).or_default() += cents(&payment["amount"]);
    }
    let mut sales: BTreeMap<i64, Sold> = BTreeMap::new();
    for sale in all(tryton, "sale.point.sale", &["state", "total"]) {
        let id = sale["id"].as_i64().expect("an id");
        let by = |method: &str| paid.get(&(id, method.to_owned())).copied().unwrap_or_default();
        let state = sale["state"].as_str().expect("a state").to_owned();
        // Another attempt's, which gave way.
        if state == "cancelled" {
            continue;
        }
        sales.insert(id, (state, cents(&sale["total"]), by("Cash"), by("Card")));
    }
    let mut noted: BTreeMap<String, Vec<Sold>> = BTreeMap::new();
    for note in all(tryton, "ir.note", &["message", "resource"]) {
        let resource =
            note["resource"].as_str().and_then(|resource| resource.strip_prefix("sale.point.sale,")).expect("a sale");
        if let Some(sale) = sales.remove(&resource.parse().expect("an id")) {
            noted.entry(note["message"].as_str().expect("a text").to_owned()).or_default().push(sale);
        }
    }
    assert!(sales.is_empty(), "sales of no ticket: {sales:?}");
    noted
}

/// All records of a model, a hundred at a time.
fn all(tryton: &Tryton, model: &str, fields: &[&str]) -> Vec<Value> {
    let (mut found, mut last) = (Vec::new(), 0);
    loop {
        let more = tryton.search(model, &json!([["id", ">", last], ["id", "<=", last + 100]]), fields);
        let count = json!([[["id", ">", last]], 0, null, { "company": 1 }]);
        if more.is_empty() && tryton.rpc(&format!("model.{model}.search_count"), count) == 0 {
            return found;
        }
        found.extend(more);
        last += 100;
    }
}

/// An exact amount of Tryton in cents.
fn cents(amount: &Value) -> i64 {
    let text = amount["decimal"].as_str().expect("an amount");
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(part.trim_end_matches('0').len() <= 2, "{text} is not in cents");
    let part: String = part.chars().chain("00".chars()).take(2).collect();
    sign * (whole.parse::<i64>().expect("digits") * 100 + part.parse::<i64>().expect("digits"))
}

/// How many sales the ERP has posted.
fn posted(tryton: &Tryton) -> usize {
    let count = json!([[["state", "=", "posted"]], 0, null, { "company": 1 }]);
    let posted = tryton.rpc("model.sale.point.sale.search_count", count);
    usize::try_from(posted.as_u64().expect("a count")).expect("a small number")
}

/// Waits until the ERP has posted so many sales, as long as more of them come.
async fn until(tryton: &Arc<Tryton>, hub: &HubProcess, wanted: usize) {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let posted = ask(tryton, posted).await;
        if posted >= wanted {
            return;
        }
        if posted > last {
            (last, since) = (posted, Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(120), "{posted} of {wanted} are sold\n{}", hub.log());
        sleep(Duration::from_millis(500)).await;
    }
}

/// What a till did in a day, in the order of its numbers; the settlement is the last.
struct Till {
    name: &'static str,
    transactions: Vec<Transaction>,
}

#[derive(Clone)]
struct Transaction {
    number: u64,
    kind: Kind,
    xml: String,
}

#[derive(Clone)]
enum Kind {
    Ticket(Ticket),
    Cancelled,
    Training,
    Other,
}

/// What was sold, in cents.
#[derive(Clone, Default)]
struct Ticket {
    gross: i64,
    cash: i64,
    card: i64,
    /// Articles by their place in [`ARTICLES`], and how many.
    articles: Vec<(usize, i64)>,
}

impl Till {
    fn day(random: &mut Random, name: &'static str, first: u64, tickets: usize) -> Till {
        let mut transactions = vec![control(name, first, "<ControlTransaction><SignOn/></ControlTransaction>")];
        let mut sold = Ticket::default();
        let mut count = 0;
        while count < tickets {
            let number = first + transactions.len() as u64;
            let (ticket, body) = retail(random);
            let (kind, flags) = match random.below(20) {
                0 => (Kind::Cancelled, r#"CancelFlag="true" TrainingModeFlag="false""#),
                1 => (Kind::Training, r#"CancelFlag="false" TrainingModeFlag="true""#),
                _ => {
                    count += 1;
                    sold.gross += ticket.gross;
                    sold.cash += ticket.cash;
                    sold.card += ticket.card;
                    (Kind::Ticket(ticket), r#"CancelFlag="false" TrainingModeFlag="false""#)
                }
            };
            transactions.push(Transaction { number, kind, xml: transaction(name, number, flags, &body) });
        }
        let number = first + transactions.len() as u64;
        transactions.push(control(name, number, &settlement(tickets, &sold)));
        Till { name, transactions }
    }

    fn tickets(&self) -> impl Iterator<Item = (u64, &Ticket)> {
        self.transactions.iter().filter_map(|one| match &one.kind {
            Kind::Ticket(ticket) => Some((one.number, ticket)),
            _ => None,
        })
    }

    /// A ticket somewhere in the middle.
    fn one_of_the_middle(&self, random: &mut Random) -> (u64, Ticket) {
        let tickets: Vec<_> = self.tickets().collect();
        let third = tickets.len() / 3;
        let place = third + usize::try_from(random.below(third as u64)).expect("a place");
        (tickets[place].0, tickets[place].1.clone())
    }

    fn all_but(&self, number: u64) -> Vec<Transaction> {
        self.transactions.iter().filter(|one| one.number != number).cloned().collect()
    }

    /// All but one, with the settlement apart: a file of its own.
    fn all_but_and_settlement(&self, number: u64) -> (Vec<Transaction>, Vec<Transaction>) {
        let mut all = self.all_but(number);
        let settlement = all.split_off(all.len() - 1);
        (all, settlement)
    }

    fn only(&self, number: u64) -> Vec<Transaction> {
        self.transactions.iter().filter(|one| one.number == number).cloned().collect()
    }

    /// The line of the report once it has settled, where this ticket is missing, or came late.
    fn line(&self, missing: Option<&(u64, Ticket)>, late: usize) -> String {
        let count = |wanted: fn(&Kind) -> bool| self.transactions.iter().filter(|one| wanted(&one.kind)).count();
        let (cancelled, training) =
            (count(|kind| matches!(kind, Kind::Cancelled)), count(|kind| matches!(kind, Kind::Training)));
        let (tickets, gross) = (self.tickets().count(), self.tickets().map(|(_, ticket)| ticket.gross).sum::<i64>());
        let (state, received, came, problems) = match missing {
            None => ("in order", tickets, gross, String::new()),
            Some((number, ticket)) => ("to check", tickets - 1, gross - ticket.gross, problems(*number, ticket)),
        };
        let (gross, came) = (euros(gross), euros(came));
        format!(
            "{DAY},0101,{},{state},{tickets},{received},{late},{cancelled},{training},{gross},{came},{problems}",
            self.name
        )
    }
}

/// What the hub says where this ticket is missing.
fn problems(number: u64, ticket: &Ticket) -> String {
    let mut said =
        vec![format!("1 missing: {number}"), "tickets -1".to_owned(), format!("gross {}", euros(-ticket.gross))];
    for (method, amount) in [("card", ticket.card), ("cash", ticket.cash)] {
        if amount != 0 {
            said.push(format!("{method} {}", euros(-amount)));
        }
    }
    said.join("; ")
}

/// A report or worklist with the tenders of each line in the order of their names, as [`problems`] has them.
fn ordered(csv: &str) -> Vec<String> {
    let line = |line: &str| {
        let (rest, problems) = line.rsplit_once(',').unwrap_or(("", line));
        let mut problems: Vec<&str> = problems.split("; ").collect();
        problems.sort_by_key(|one| one.starts_with('c').then_some(*one));
        format!("{rest},{}", problems.join("; "))
    };
    csv.lines().map(line).collect()
}

fn retail(random: &mut Random) -> (Ticket, String) {
    let back = random.below(12) == 0;
    let (word, sign) = if back { ("Return", -1) } else { ("Sale", 1) };
    let mut ticket = Ticket::default();
    let mut items = String::new();
    for line in 0..=random.below(3) {
        let article = usize::try_from(random.below(ARTICLES.len() as u64)).expect("a place");
        let quantity = 1 + i64::try_from(random.below(3)).expect("a small number");
        let price = 100 + i64::try_from(random.below(4_900)).expect("a small number");
        let tenths = if random.below(5) == 0 { 9 } else { 10 };
        let amount = price * quantity * tenths / 10;
        ticket.gross += sign * amount;
        ticket.articles.push((article, sign * quantity));
        let (number, gtin) = (line + 1, ARTICLES[article]);
        let (price, amount) = (euros(price), euros(amount));
        items += &format!(
            r#"<LineItem EntryMethod="Scanned" VoidFlag="false">
<SequenceNumber>{number}</SequenceNumber>
<{word} ItemType="Stock">
<POSIdentity POSIDType="EAN"><POSItemID>{gtin}</POSItemID></POSIdentity>
<RegularSalesUnitPrice>{price}</RegularSalesUnitPrice>
<ActualSalesUnitPrice>{price}</ActualSalesUnitPrice>
<ExtendedAmount>{amount}</ExtendedAmount>
<Quantity UnitOfMeasureCode="EA">{quantity}</Quantity>
<Tax TaxType="VAT"><Percent>20</Percent></Tax>
</{word}>
</LineItem>
"#
        );
    }
    let (cash, card) = match random.below(3) {
        _ if back => (ticket.gross, 0),
        0 => (ticket.gross, 0),
        1 => (0, ticket.gross),
        _ => (ticket.gross / 2, ticket.gross - ticket.gross / 2),
    };
    (ticket.cash, ticket.card) = (cash, card);
    if back {
        items += &tender("Cash", "Refund", &format!("<Amount>{}</Amount>", euros(-cash)));
    } else if cash != 0 {
        let given = (cash + 499) / 500 * 500;
        let change = format!("<TenderChange><Amount>{}</Amount></TenderChange>", euros(given - cash));
        items += &tender("Cash", "Sale", &format!("<Amount>{}</Amount>{change}", euros(given)));
    }
    if card != 0 {
        items += &tender("CreditDebit", "Sale", &format!("<Amount>{}</Amount>", euros(card)));
    }
    let total = euros(ticket.gross);
    let body = format!(
        r#"<RetailTransaction Version="2.2">
{items}<Total TotalType="TransactionGrandAmount">{total}</Total>
<LoyaltyAccount><LoyaltyAccountID>EX-000117</LoyaltyAccountID></LoyaltyAccount>
</RetailTransaction>"#
    );
    (ticket, body)
}

fn tender(kind: &str, code: &str, amount: &str) -> String {
    format!(
        r#"<LineItem><SequenceNumber>9</SequenceNumber><Tender TenderType="{kind}" TypeCode="{code}">{amount}</Tender></LineItem>
"#
    )
}

fn settlement(tickets: usize, sold: &Ticket) -> String {
    let summary = |kind: &str, amount: i64| {
        let amount = euros(amount);
        format!(r#"<TenderSummary><Sales TenderType="{kind}"><Amount>{amount}</Amount></Sales></TenderSummary>"#)
    };
    format!(
        r#"<TenderControlTransaction><TillSettle>
<TransactionCount>{tickets}</TransactionCount>
{}
{}
<Total TotalType="TransactionGrandAmount">{}</Total>
</TillSettle></TenderControlTransaction>"#,
        summary("Cash", sold.cash),
        summary("CreditDebit", sold.card),
        euros(sold.gross)
    )
}

fn control(till: &str, number: u64, body: &str) -> Transaction {
    let xml = transaction(till, number, r#"CancelFlag="false" TrainingModeFlag="false""#, body);
    Transaction { number, kind: Kind::Other, xml }
}

fn transaction(till: &str, number: u64, flags: &str, body: &str) -> String {
    format!(
        "<Transaction {flags}>
<RetailStoreID>0101</RetailStoreID>
<WorkstationID>{till}</WorkstationID>
<SequenceNumber>{number}</SequenceNumber>
<BusinessDayDate>{DAY}</BusinessDayDate>
<BeginDateTime>{DAY}T10:00:00</BeginDateTime>
<EndDateTime>{DAY}T10:01:00</EndDateTime>
<OperatorID>17</OperatorID>
<CurrencyCode>EUR</CurrencyCode>
{body}
</Transaction>
"
    )
}

fn euros(cents: i64) -> String {
    let (sign, cents) = (if cents < 0 { "-" } else { "" }, cents.abs());
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// A file of a till.
fn file(transactions: &[Transaction]) -> String {
    let all: String = transactions.iter().map(|one| one.xml.as_str()).collect();
    format!("<?xml version=\"1.0\"?>\n<POSLog xmlns=\"http://www.nrf-arts.org/IXRetail/namespace/\">\n{all}</POSLog>\n")
}

/// The same, as another program of the till lays it out.
fn file_in_one_line(transactions: &[Transaction]) -> String {
    let all: String = transactions.iter().map(|one| one.xml.replace('\n', "")).collect();
    format!("<x:POSLog xmlns:x=\"http://www.nrf-arts.org/IXRetail/namespace/\">{all}</x:POSLog>")
}

/// What waits in the hub's queues, by their names.
fn queues(folder: &Folder, variables: &Variables) -> BTreeMap<String, u64> {
    let variables: Vec<(&str, &str)> = variables.0.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let said = folder.raccord_with(&["status", "--json"], &variables);
    let status: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let pipelines = status["pipelines"].as_array().expect("pipelines");
    let queues = pipelines.iter().flat_map(|one| one["queues"].as_object().expect("queues"));
    queues.map(|(name, waiting)| (name.clone(), waiting.as_u64().expect("a count"))).collect()
}

/// Waits until all files are taken and all of them is counted; gives how many tickets wait for the ERP.
async fn all_is_counted(folder: &Folder, variables: &Variables) -> u64 {
    wait_for("all is counted", || {
        let mut waiting = if folder.names("in/poslog") == ["done"] { queues(folder, variables) } else { return None };
        let for_the_erp = waiting.remove("store-sales.to.erp").expect("it has a queue");
        waiting.values().all(|waiting| *waiting == 0).then_some(for_the_erp)
    })
    .await
}

/// The codes of the dead letters.
fn dead_letters(folder: &Folder, variables: &Variables) -> Vec<String> {
    let variables: Vec<(&str, &str)> = variables.0.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let said = folder.raccord_with(&["dead", "list", "--json"], &variables);
    let dead: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    dead.as_array().expect("a list").iter().map(|one| one["code"].as_str().expect("a code").to_owned()).collect()
}
