"""Commands that doctor and submit tell people to type, with what they have said of the launch themselves."""

import shlex

import msgspec


class Typed(msgspec.Struct, frozen=True):
    """What the command line said of a launch, in its own words.

    Attributes:
        site: name or file of the site, as after `--site`.
        job: name or file of the job, where its file says how it is launched; empty elsewhere.
        options: options that change the launch, one word each.
    """

    site: str
    job: str = ""
    options: tuple[str, ...] = ()

    def to_prove(self, *, slurm: bool) -> str:
        """What proves the launch that was asked for, and not another one."""
        nodes = ("--nodes", "2") if slurm else ()
        job = (self.job,) if self.job else ()
        return shlex.join(("bertjob", "doctor", *job, "--prove", *nodes, "--site", self.site, *self.options))

    def to_check(self, image: str) -> str:
        """What looks into an image."""
        return shlex.join(("bertjob", "image", "check", image, "--site", self.site))

    def to_forget(self) -> str:
        """What forgets the nodes that failed."""
        return shlex.join(("bertjob", "doctor", "--forget", "--site", self.site))
