// SPDX-License-Identifier: MIT OR GPL-2.0
//
// Established RTP streams are forwarded here, where the driver hands a packet over, and never reach a
// socket. Everything that is not exactly what user space opened a flow for is passed on to it: another
// source, another SSRC, a jump of the sequence, RTCP, STUN, fragments, options.
//
//   packet ─► flows[port - first_port] ─ open, same addresses, same SSRC, next in sequence?
//                │ no: XDP_PASS                    │ yes
//                ▼                                 ▼
//             sockets                count, new addresses, XDP_TX or redirect
//
// `struct flow` is mapped by user space (src/fast_path/kernel.rs): its first part is written by user
// space while `open` is 0, its second by this program while `open` is 1.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_PARTS 0x3fff /* more fragments, or an offset (RFC 791) */
#define DONT_FRAGMENT 0x4000
#define HOP_LIMIT 64
#define PACKET_MAX 1500
/* As the receiver in user space: more is a restart, to be judged there (RFC 3550 A.1). */
#define MAX_DROPOUT 3000
#define MAX_MISORDER 100

struct flow {
	__u32 open;
	/* Addresses, ports and SSRC in network order: what comes... */
	__be32 ours;
	__be32 from;
	__be16 from_port;
	/* ...and what leaves. */
	__be16 source_port;
	__be32 source;
	__be32 to;
	__be16 to_port;
	__u8 hop[ETH_ALEN];
	__u8 self[ETH_ALEN];
	__u8 tos;
	/* That of the last packet that came. */
	__u8 tos_in;
	/* The interface it leaves by, and the one it comes by. */
	__u32 egress;
	__u32 ingress;
	__be32 ssrc;
	__u32 clock_rate;

	__u32 started;
	__u32 reserved2;
	__u64 packets;
	__u64 bytes;
	__u64 last_ns;
	__u64 arrival;
	__u32 timestamp;
	__u32 jitter_x16;
	__u16 sequence;
	__u8 payload_type;
	__u8 unused[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

/* The port of the first flow; set before loading. */
const volatile __u32 first_port = 0;

struct rtp {
	__u8 version;
	__u8 payload_type;
	__be16 sequence;
	__be32 timestamp;
	__be32 ssrc;
};

/* Where the headers of a packet begin. */
struct packet {
	struct ethhdr *eth;
	struct iphdr *ip;
	struct udphdr *udp;
	struct rtp *rtp;
};

/* Whether it goes on from the newest packet, or was overtaken by a few. */
static __always_inline int fits(const struct flow *flow, __u16 sequence)
{
	__s16 step = (__s16)(sequence - flow->sequence);

	return !flow->started || (step < MAX_DROPOUT && step >= -MAX_MISORDER);
}

/* RFC 3550 §6.4.1, in units of 1/16 of the stream's clock. */
static __always_inline void measure(struct flow *flow, __u64 now, __u32 timestamp)
{
	/* Microseconds times a clock below 2^20 Hz fit for half a year of uptime and more. */
	__u64 arrival = now / 1000 * flow->clock_rate / 1000000;

	if (flow->started && timestamp == flow->timestamp)
		return;
	if (flow->started) {
		__s32 d = (__s32)((__u32)(arrival - flow->arrival) - (timestamp - flow->timestamp));
		__u32 jitter = flow->jitter_x16 + (d < 0 ? -d : d);
		__u32 decay = (flow->jitter_x16 + 8) >> 4;

		flow->jitter_x16 = jitter > decay ? jitter - decay : 0;
	}
	flow->arrival = arrival;
	flow->timestamp = timestamp;
}

static __always_inline void count(struct flow *flow, const struct rtp *rtp, __u32 bytes)
{
	__u64 now = bpf_ktime_get_ns();
	__u16 sequence = bpf_ntohs(rtp->sequence);

	measure(flow, now, bpf_ntohl(rtp->timestamp));
	if (!flow->started || (__s16)(sequence - flow->sequence) > 0)
		flow->sequence = sequence;
	flow->started = 1;
	flow->payload_type = rtp->payload_type & 0x7f;
	flow->last_ns = now;
	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->bytes, bytes);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* Addresses and ports as one sum; ports count as they lie in memory. */
static __always_inline __u64 sum_of(__be32 a, __be32 b, __be16 c, __be16 d)
{
	return (__u64)a + b + c + d;
}

/*
 * The checksum after the addresses changed (RFC 1624). A packet of another interface of this machine may
 * carry only the sum of its pseudo header, for hardware to finish (CHECKSUM_PARTIAL): that one gets none,
 * which IPv4 allows (RFC 768).
 */
static __always_inline __sum16 checksum(const struct packet *p, const struct flow *flow)
{
	__u64 pseudo = (__u64)p->ip->saddr + p->ip->daddr + bpf_htons(IPPROTO_UDP) + p->udp->len;
	__u64 sum;
	__u16 folded;

	if (p->udp->check == 0 || p->udp->check == fold(pseudo))
		return 0;
	sum = (__u16)~p->udp->check;
	sum += 0xffff - fold(sum_of(p->ip->saddr, p->ip->daddr, p->udp->source, p->udp->dest));
	sum += sum_of(flow->source, flow->to, flow->source_port, flow->to_port);
	folded = ~fold(sum);
	return folded ? folded : 0xffff;
}

static __always_inline void readdress(struct packet *p, const struct flow *flow)
{
	const __u16 *words = (const __u16 *)p->ip;
	__u64 sum = 0;

	p->udp->check = checksum(p, flow);
	__builtin_memcpy(p->eth->h_dest, flow->hop, ETH_ALEN);
	__builtin_memcpy(p->eth->h_source, flow->self, ETH_ALEN);
	p->ip->tos = flow->tos;
	p->ip->id = 0;
	p->ip->frag_off = bpf_htons(DONT_FRAGMENT);
	p->ip->ttl = HOP_LIMIT;
	p->ip->saddr = flow->source;
	p->ip->daddr = flow->to;
	p->ip->check = 0;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += words[i];
	p->ip->check = ~fold(sum);
	p->udp->source = flow->source_port;
	p->udp->dest = flow->to_port;
}

/* Whether it is RTP in a whole UDP datagram without options; its length, else 0. */
static __always_inline __u32 rtp_bytes(const struct packet *p, const void *end)
{
	__u32 total = bpf_ntohs(p->ip->tot_len), datagram = bpf_ntohs(p->udp->len);

	if (p->eth->h_proto != bpf_htons(ETH_P_IP) || p->ip->version != 4 || p->ip->ihl != 5)
		return 0;
	if (p->ip->protocol != IPPROTO_UDP || (p->ip->frag_off & bpf_htons(IP_PARTS)))
		return 0;
	if (total > PACKET_MAX || datagram != total - sizeof(*p->ip) || datagram < sizeof(*p->udp) + sizeof(*p->rtp))
		return 0;
	if ((const void *)p->ip + total > end)
		return 0;
	/* Version 2, and no RTCP (RFC 5761 §4). */
	if (p->rtp->version >> 6 != 2 || (p->rtp->payload_type >= 192 && p->rtp->payload_type <= 223))
		return 0;
	return datagram - sizeof(*p->udp);
}

SEC("xdp")
int forward_rtp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct packet p = {
		.eth = data,
		.ip = data + sizeof(*p.eth),
		.udp = data + sizeof(*p.eth) + sizeof(*p.ip),
		.rtp = data + sizeof(*p.eth) + sizeof(*p.ip) + sizeof(*p.udp),
	};
	struct flow *flow;
	__u32 at, bytes;

	if ((void *)(p.rtp + 1) > end)
		return XDP_PASS;
	bytes = rtp_bytes(&p, end);
	if (!bytes)
		return XDP_PASS;
	at = bpf_ntohs(p.udp->dest) - first_port;
	flow = bpf_map_lookup_elem(&flows, &at);
	/* An atomic read: what user space wrote before it opened the flow is seen. */
	if (!flow || !__sync_fetch_and_add(&flow->open, 0))
		return XDP_PASS;
	if (ctx->ingress_ifindex != flow->ingress)
		return XDP_PASS;
	if (p.ip->daddr != flow->ours || p.ip->saddr != flow->from || p.udp->source != flow->from_port)
		return XDP_PASS;
	if (p.rtp->ssrc != flow->ssrc || !fits(flow, bpf_ntohs(p.rtp->sequence)))
		return XDP_PASS;
	flow->tos_in = p.ip->tos;
	count(flow, p.rtp, bytes);
	readdress(&p, flow);
	return flow->egress == flow->ingress ? XDP_TX : bpf_redirect(flow->egress, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
