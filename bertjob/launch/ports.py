"""The port at which the ranks of a job meet, chosen by its script on the first node."""

_CHOICE = r"""
# Below the ports that the kernel gives to outgoing connections, which may be taken at any moment; another one for
# each job and each of its starts; none that something listens at.
read -r ephemeral _ < /proc/sys/net/ipv4/ip_local_port_range
((ephemeral > 20000)) || ephemeral=32768
MASTER_PORT=$((20000 + (NUMBER) % (ephemeral - 20000)))
while (: < "/dev/tcp/localhost/$MASTER_PORT") 2> /dev/null; do MASTER_PORT=$((MASTER_PORT + 1)); done
""".strip()


def choice(number: str) -> str:
    """Lines of bash that set MASTER_PORT.

    Args:
        number: arithmetic expression of bash that differs between the jobs that may share a node.
    """
    return _CHOICE.replace("NUMBER", number)
