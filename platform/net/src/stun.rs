//! The STUN keep-alive on a SIP port (RFC 5626 §8, RFC 8489 §5): a Binding request is answered with
//! the address it came from. Only peers that already talk SIP here get an answer, so strangers
//! cannot use the port to reflect traffic.

use std::net::SocketAddr;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// The answer to `datagram` if it is a Binding request.
pub(crate) fn binding_response(datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let (head, attributes) = datagram.split_at_checked(20)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[..2] != [0, 1] || head[4..8] != COOKIE || length != attributes.len() {
        return None;
    }
    let key: [u8; 16] = head[4..20].try_into().ok()?;
    let value = xor_address(from, &key);
    let mut response = vec![1, 1, 0, 4 + value.len() as u8];
    response.extend(key);
    response.extend([0, 0x20, 0, value.len() as u8]);
    response.extend(value);
    Some(response)
}

fn xor_address(addr: SocketAddr, key: &[u8; 16]) -> Vec<u8> {
    let (family, ip) = match addr {
        SocketAddr::V4(a) => (1, a.ip().octets().to_vec()),
        SocketAddr::V6(a) => (2, a.ip().octets().to_vec()),
    };
    let plain = addr.port().to_be_bytes().into_iter().zip(&key[..2]);
    let mut value = vec![0, family];
    value.extend(plain.map(|(b, k)| b ^ k));
    value.extend(ip.iter().zip(key).map(|(b, k)| b ^ k));
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_binding_request_learns_its_address() {
        let mut request = vec![0, 1, 0, 0];
        request.extend(COOKIE);
        request.extend([7; 12]);
        let response = binding_response(&request, "192.0.2.1:32853".parse().unwrap()).unwrap();
        // The port and address of RFC 5769 §2.2.
        assert_eq!(&response[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        assert_eq!(binding_response(&request, "[::1]:1".parse().unwrap()).unwrap().len(), 44);
        assert_eq!(
            binding_response(b"OPTIONS sip:a@b SIP/2.0\r\n", "[::1]:1".parse().unwrap()),
            None
        );
        assert_eq!(binding_response(&request[..19], "[::1]:1".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            binding_response(&bytes, "[::1]:1".parse().unwrap());
            let mut request = vec![0, 1, 0, bytes.len() as u8];
            request.extend(COOKIE);
            request.extend([7; 12]);
            request.extend(&bytes);
            assert!(binding_response(&request, "[::1]:1".parse().unwrap()).is_some());
        }
    }
}
