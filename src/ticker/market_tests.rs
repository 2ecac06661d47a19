use super::*;

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

#[test]
fn a_symbol_stays_as_it_is_and_what_is_none_is_refused_by_name() {
    let most = "Ж".repeat(32);
    for good in [
        "BRK.B", "BRK/B", "aapl", "Сбер", "^GSPC", "A,B", "0-9", "🦀", &most,
    ] {
        assert_eq!(symbol(good).as_str(), good);
    }
    let over = "Ж".repeat(33);
    for bad in [
        "",
        "A B",
        "A\n",
        "\tA",
        "A\0",
        "A\u{7f}",
        "A\u{a0}",
        "A\u{2028}",
        &over,
    ] {
        let error = Symbol::parse(bad).unwrap_err();
        assert_eq!(error, Error::invalid(error.message.clone()));
        assert!(error.message.contains(&format!("{bad:?}")), "{error}");
    }
    let long = Symbol::parse(&"x".repeat(100_000)).unwrap_err();
    assert!(long.message.len() < 200 && long.message.contains("..."));
}

#[test]
fn the_three_price_fields_agree_over_ten_thousand_updates() {
    let market = Market::new(1);
    for name in ["AAPL", "TSLA"] {
        let symbol = symbol(name);
        let mut before = market.quote(&symbol, 0);
        assert_eq!((before.change.0, before.percent.0), (0, 0));
        assert!((10_000..=50_000).contains(&before.price.0));
        let mut moved = 0;
        for step in 1..=10_000 {
            let now = market.quote(&symbol, step);
            assert!(now.price.0 > 0);
            assert_eq!(now.price.0 - now.change.0, before.price.0);
            // The same as a client computes it, from doubles.
            let percent = now.change.to_f64() / before.price.to_f64() * 100.0;
            assert!((percent - now.percent.to_f64()).abs() <= 0.005 + 1e-9);
            assert!((1_000..=100_000).contains(&now.volume));
            moved += usize::from(now.change.0 != 0);
            before = now;
        }
        assert!(moved > 9_000, "{name} moved {moved} times");
    }
}

#[test]
fn the_same_seed_gives_the_same_price_and_another_one_another() {
    let quote = |seed, name, step| Market::new(seed).quote(&symbol(name), step);
    let all = |seed| {
        let steps = [0, 1, 2, 1_000, 1 << 30, HORIZON, u64::MAX];
        steps.map(|step| quote(seed, "AAPL", step))
    };
    assert_eq!(all(7), all(7));
    assert!(all(7) != all(8));
    assert!(quote(7, "AAPL", 5) != quote(7, "AAPK", 5));
    // Over releases and machines too.
    assert_eq!(quote(42, "AAPL", 0).price, Hundredths(16_323));
}

#[test]
fn steps_have_the_promised_spread_everywhere_on_the_walk() {
    for start in [0, 1_000_000, HORIZON / 2 - 2_000] {
        let steps: Vec<f64> = (start..start + 4_000)
            .map(|step| walk(99, step + 1) - walk(99, step))
            .collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        let squares = steps.iter().map(|x| x * x).sum::<f64>() / steps.len() as f64;
        assert!(mean.abs() < 0.1, "mean {mean} from {start}");
        assert!(
            (0.9..1.1).contains(&squares),
            "variance {squares} from {start}"
        );
    }
}

#[test]
fn a_price_stays_in_its_range_for_ever() {
    let market = Market::new(3);
    for step in (0..60).map(|n| (1_u64 << 40) / 60 * n) {
        let cents = market.quote(&symbol("FAR"), step).price.0;
        assert!((500..=1_000_000).contains(&cents), "{cents} at {step}");
    }
}
