use super::budget::LARGE;
use super::clients::network;
use super::*;
use crate::error::{ErrorCode, Result};
use std::net::IpAddr;

#[test]
fn a_reservation_over_the_budget_takes_nothing_and_a_drop_gives_back() {
    let budget = Budget::new(100);
    let mut a = budget.reserve();
    a.take(60).unwrap();
    let mut b = budget.reserve();
    assert_eq!(b.take(41).unwrap_err().code, ErrorCode::Full);
    assert_eq!(budget.used(), 60);
    b.take(40).unwrap();
    drop(a);
    assert_eq!(budget.used(), 40);
    b.give_back(15);
    assert_eq!(budget.used(), 25);
    drop(b);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_held_no_longer_is_given_back_and_no_more_than_that() {
    let budget = Budget::of_messages(100, 60);
    let mut a = budget.reserve();
    a.take(50).unwrap();
    let mut b = a.another();
    assert_eq!(b.take(51).unwrap_err().code, ErrorCode::Full);
    a.give_back(20);
    b.take(70).unwrap();
    a.give_back(1000);
    assert_eq!((budget.used(), b.max_message()), (70, 60));
}

fn clients() -> Clients {
    Clients::new(Budget::new(100), Shares { connection: 50, address: 70 })
}

fn text(refused: Result<()>) -> String {
    refused.unwrap_err().message
}

#[test]
fn fault_104_a_connection_and_an_address_hold_no_more_than_their_shares() {
    let clients = clients();
    let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let mut first = clients.connection(one).reserve();
    let mut second = clients.connection(one).reserve();
    let mut stranger = clients.connection(other).reserve();
    first.take(50).unwrap();
    assert!(text(first.take(1)).contains("limits.connection_share"));
    assert!(text(second.take(21)).contains("limits.address_share"));
    second.take(20).unwrap();
    stranger.take(30).unwrap();
    assert!(text(stranger.take(1)).starts_with("the server holds"));
    assert_eq!(clients.process.used(), 100, "a refusal leaves nothing counted");
    drop(first);
    assert_eq!(clients.process.used(), 50);
    second.take(30).unwrap();
    drop((second, stranger));
    assert_eq!(clients.process.used(), 0);
}

#[test]
fn fault_103_what_is_given_back_is_told_to_the_process_by_its_size() {
    let clients = clients();
    let mut small = clients.connection("10.0.0.1".parse().unwrap()).reserve();
    small.hold(30);
    small.give_back(10);
    drop(small);
    let mut large = clients.connection("10.0.0.2".parse().unwrap()).reserve();
    large.hold(LARGE);
    drop(large);
    assert_eq!(clients.process.released(), Released { large: LARGE, small: 30 });
}

#[test]
fn fault_103_what_can_never_fit_is_too_large_and_what_has_to_wait_is_not() {
    // The sizes that the client holds, those its message has, those it asks for.
    for (others, has, asks, word, named) in [
        (0, 0, 51, ErrorCode::TooLarge, "take 51 bytes, over the 50 that a connection may hold"),
        (0, 40, 11, ErrorCode::TooLarge, "take 51 bytes, over the 50 that a connection may hold"),
        (10, 40, 11, ErrorCode::TooLarge, "limits.connection_share"),
        (10, 40, 1, ErrorCode::Full, "limits.connection_share"),
        (10, 0, 50, ErrorCode::Full, "limits.connection_share"),
        (0, 0, 71, ErrorCode::TooLarge, "limits.connection_share"),
    ] {
        let connection = clients().connection("10.0.0.1".parse().unwrap());
        let (mut other, mut message) = (connection.reserve(), connection.reserve());
        other.take(others).unwrap();
        message.take(has).unwrap();
        let error = message.take(asks).unwrap_err();
        assert_eq!((error.code, error.retry_after.is_some()), (word, word == ErrorCode::Full), "{error}");
        assert!(error.message.contains(named), "{error}");
        assert_eq!(connection.used(), others + has);
    }
}

#[test]
fn fault_103_the_least_of_the_bounds_says_what_never_fits() {
    let process = Budget::new(100);
    let connection = process.share(Bound::Address, 40).share(Bound::Connection, 60);
    assert_eq!(connection.check(40), Ok(()));
    assert!(connection.check(41).unwrap_err().message.contains("limits.address_share"));
    assert!(connection.check(61).unwrap_err().message.contains("limits.connection_share"));
    assert!(process.check(101).unwrap_err().message.ends_with("(setting limits.process_bytes)"));
}

#[test]
fn fault_103_an_answer_that_never_fits_beside_its_request_is_too_large() {
    let connection = clients().connection("10.0.0.1".parse().unwrap());
    let mut request = connection.reserve();
    request.take(30).unwrap();
    assert_eq!(request.beside().take(21).unwrap_err().code, ErrorCode::TooLarge);
    assert_eq!(request.beside().take(20), Ok(()));
    assert_eq!(request.another().take(21).unwrap_err().code, ErrorCode::Full);
}

#[test]
fn clients_are_told_apart_by_address_and_by_connection() {
    let clients = clients();
    let of = |address: &str| clients.connection(address.parse().unwrap());
    let (one, two, far) = (of("10.0.0.1"), of("10.0.0.1"), of("10.0.0.2"));
    let [a, b, c] = [&one, &two, &far].map(|budget| budget.reserve().client());
    assert_eq!(one.reserve().another().client(), a);
    assert_eq!((a.address == b.address, a.connection == b.connection), (true, false));
    assert_ne!(a.address, c.address);
}

#[test]
fn another_one_counts_on_the_same_connection() {
    let connection = clients().connection("10.0.0.1".parse().unwrap());
    let mut request = connection.reserve();
    request.take(30).unwrap();
    let mut answer = request.another();
    answer.hold(30);
    drop(request);
    assert_eq!(connection.used(), 30);
    assert!(answer.take(21).is_err());
}

#[test]
fn fault_104_a_share_has_room_for_a_message_and_what_it_becomes() {
    for (process, connection, address, message, expected) in [
        (1000, 0.5, 0.75, 50, (500, 750)),
        (1000, 0.05, 0.1, 50, (200, 200)),
        (150, 0.5, 0.75, 50, (150, 150)),
        (1000, 1.0, 1.0, 50, (1000, 1000)),
    ] {
        let shares = Shares::of(process, connection, address, message);
        assert_eq!((shares.connection, shares.address), expected);
    }
}

#[test]
fn addresses_that_left_are_forgotten_and_what_they_hold_is_not() {
    let clients = clients();
    let stays = clients.connection("10.1.0.1".parse().unwrap());
    let mut held = stays.reserve();
    held.take(50).unwrap();
    drop(stays);
    for last in 0..=255u8 {
        for middle in 0..4u8 {
            drop(clients.connection(IpAddr::from([10, 0, middle, last])));
        }
    }
    assert!(clients.addresses.lock().budgets.len() < 40);
    assert!(clients.connection("10.1.0.1".parse().unwrap()).reserve().take(21).is_err());
}

#[test]
fn an_ipv6_network_is_one_client_and_a_mapped_address_is_its_ipv4_one() {
    let of = |text: &str| network(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
    assert_ne!(of("2001:db8:1:2:3::4"), of("2001:db8:1:3:3::4"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
}
